"""relayd's own database of events, deliveries and attempts: what it has promised to deliver."""
