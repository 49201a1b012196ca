"""What the gateway says of itself: to people, to Prometheus, to OpenTelemetry, to whoever listens."""
