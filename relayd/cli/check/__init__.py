"""What `relayd check` looks at beside the configuration."""
