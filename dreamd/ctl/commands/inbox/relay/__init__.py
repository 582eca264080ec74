"""`inbox relay` and `inbox pull`: inbox files through a JetStream stream of NATS. Only they import `nats-py`."""
