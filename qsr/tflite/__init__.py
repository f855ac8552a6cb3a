"""``.tflite`` files: read, edited, run, and made from Keras models."""
