"""What is measured: each module runs one question, and returns a section of the report."""
