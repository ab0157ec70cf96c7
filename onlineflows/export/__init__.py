"""What a snapshot becomes for other programs: ONNX models, a card in Markdown."""
