"""The receiver of `listen` and `demo`: an HTTP server that verifies what arrives."""
