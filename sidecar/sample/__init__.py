"""Which traces are kept when not all can be: pressure, its controller, decisions, keep rules, budgets, limbo. Pure."""
