"""Small trained networks to try lipcert on, and the script that trains them: `python -m models`."""
