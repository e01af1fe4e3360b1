"""The long-running parts on one machine: each a process that is started, awaited and ended whole."""
