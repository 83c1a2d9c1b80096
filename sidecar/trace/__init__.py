"""What is known of a live trace, bounded by bytes. Pure."""
