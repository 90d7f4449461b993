"""Make the student deployable: tower -> ONNX -> precision -> validation -> bundle."""

if __name__ != "edgeclip.export":
    raise ImportError("this folder is imported as edgeclip.export: pip install -e . and import that")
