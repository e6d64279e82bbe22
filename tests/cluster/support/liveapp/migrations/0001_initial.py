from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Ticket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("board_id", models.IntegerField()),
                ("name", models.CharField(max_length=50, unique=True)),
                ("turn", models.IntegerField()),
            ],
        ),
    ]
