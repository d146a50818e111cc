"""Models for other programs: TorchScript or ONNX, and a JSON file that says how to use them."""
