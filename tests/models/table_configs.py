"""The networks of the rows of Tables 1 and 3, as the recipes of the rows configure them."""

from qsr.training.recipe_files import load_recipe, shipped_recipes

VARIANTS = {
    name.removesuffix("_x3"): load_recipe(name).model
    for name in shipped_recipes()
    if name.startswith("xcat") and "without" not in name
}
