"""From sections to files: JSON, a table in Markdown, plots, and the documents that quote them."""
