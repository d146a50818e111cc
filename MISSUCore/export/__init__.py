"""Export of models as TorchScript or ONNX, with a JSON file that describes their use."""
