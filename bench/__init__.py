"""Measuring the service: loads of requests against it, against another server, and against no server at all."""
