"""How spans leave: batches, verdicts, retries, breakers and destinations. The only room that opens connections."""
