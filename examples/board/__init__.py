"""A board of tickets that everybody who looks at it moves by drag and drop: Django REST framework and a live model."""
