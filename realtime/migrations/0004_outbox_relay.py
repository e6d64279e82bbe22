from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flotilla_realtime", "0003_outbox"),
    ]

    operations = [
        migrations.CreateModel(
            name="OutboxRelay",
            fields=[
                ("id", models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=16)),
                ("since", models.BigIntegerField(default=0)),
                ("batches", models.BigIntegerField(default=0)),
                ("holder", models.CharField(default="", max_length=255)),
                ("until", models.DateTimeField()),
            ],
            options={"db_table": "flotilla_outbox_relay", "default_permissions": ()},
        ),
    ]
