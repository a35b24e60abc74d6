"""What people and programs read: text, JSON, the live progress line. Only this room and the command line print."""
