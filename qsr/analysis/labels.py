"""What a layer is called in tables and pages."""


def layer_label(name: str) -> str:
    """Return a layer's name for tables: ``first_conv`` of ``net/first_conv/Relu;net/...``.

    What was fused into the tensor, the model's name before the first ``/`` and the operation after
    the last are dropped. Not unique: the outputs of one split share it. What TensorFlow calls
    ``StatefulPartitionedCall:0`` is the model's ``output``.

    Args:
        name: of the tensor.
    """
    if name.startswith("StatefulPartitionedCall"):
        return "output"
    first = name.split(";", maxsplit=1)[0]
    parts = first.removeprefix("serving_default_").removesuffix(":0").split("/")
    return "/".join(parts[1:-1]) or parts[-1]
