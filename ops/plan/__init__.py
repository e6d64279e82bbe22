"""How many instances and Redises a load takes, predicted from measured costs: `manage.py plan`. Pure arithmetic."""
