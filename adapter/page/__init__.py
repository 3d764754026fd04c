"""What a person sees who opens the service's address in a browser."""
