"""What each operation costs, for `manage.py plan`: measured one by one, made a file of, and checked by whole runs."""
