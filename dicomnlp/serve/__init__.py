"""What is answered over HTTP, and the supervisor of all parts of the service."""
