"""The outbox, with the triggers that give its rows their positions (docs/decisions/0052)."""

import django.db.models.functions.datetime
from django.db import migrations, models

import flotilla.realtime.outbox.columns
from flotilla.realtime.outbox.vendor_sql import RunVendorSQL

CHANNELS = 1179406164  # the class of our advisory locks: one for a channel
GATE = 1179406165  # one for all: shared by those who lock few channels, alone for who would lock very many
ASLEEP = 1179406166  # held by a relay that waits to be notified

POSTGRESQL = [
    "CREATE SEQUENCE flotilla_outbox_position",
    "CREATE TABLE flotilla_outbox_commit (transaction varchar(40) PRIMARY KEY)",
    # Rows whose transaction goes on: a live model's changes by their key, publications each for itself.
    """CREATE UNIQUE INDEX flotilla_outbox_uncommitted ON flotilla_outbox
    (transaction, channel, key, (CASE WHEN operation = 'publish' THEN id ELSE 0 END)) WHERE position IS NULL""",
    """CREATE INDEX flotilla_outbox_waiting ON flotilla_outbox (position)
    WHERE sent_at IS NULL AND failed_at IS NULL AND position IS NOT NULL""",
    "CREATE INDEX flotilla_outbox_sent ON flotilla_outbox (sent_at) WHERE sent_at IS NOT NULL",
    "CREATE INDEX flotilla_outbox_failed ON flotilla_outbox (failed_at) WHERE failed_at IS NOT NULL",
    "CREATE UNIQUE INDEX flotilla_outbox_once ON flotilla_outbox (channel, once) WHERE once IS NOT NULL",
    # Once in a transaction: what it has noted is forgotten with the note where a savepoint is rolled back.
    """CREATE FUNCTION flotilla_outbox_note() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('flotilla.noted', true) = pg_current_xact_id()::text THEN  -- by a row before it
        RETURN NULL;
    END IF;
    PERFORM set_config('flotilla.noted', pg_current_xact_id()::text, true);
    INSERT INTO flotilla_outbox_commit (transaction) VALUES (pg_current_xact_id()::text) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$""",
    # Statistics of a table that grows fast are old ones: no plan may read all of it.
    f"""CREATE FUNCTION flotilla_outbox_commit() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan TO off AS $$
DECLARE
    locks integer[];
    lock integer;
BEGIN
    IF TG_OP = 'INSERT' THEN  -- once more, behind the deferred constraints and triggers that wait as well
        UPDATE flotilla_outbox_commit SET transaction = NEW.transaction WHERE transaction = NEW.transaction;
        RETURN NULL;
    END IF;
    DELETE FROM flotilla_outbox_commit WHERE transaction = NEW.transaction;
    PERFORM set_config('flotilla.noted', '', true);
    locks := ARRAY(
        SELECT DISTINCT hashtext(channel) FROM flotilla_outbox
        WHERE transaction = NEW.transaction AND position IS NULL ORDER BY 1
    );
    IF cardinality(locks) = 0 THEN
        RETURN NULL;
    ELSIF cardinality(locks) > 32 THEN
        PERFORM pg_advisory_xact_lock({GATE}, 0);
    ELSE
        PERFORM pg_advisory_xact_lock_shared({GATE}, 0);
        FOREACH lock IN ARRAY locks LOOP
            PERFORM pg_advisory_xact_lock({CHANNELS}, lock);
        END LOOP;
    END IF;
    UPDATE flotilla_outbox SET position = given.position, written_at = clock_timestamp()
    FROM (
        SELECT id, nextval('flotilla_outbox_position') AS position FROM (
            SELECT id FROM flotilla_outbox WHERE transaction = NEW.transaction AND position IS NULL ORDER BY id
        ) AS ordered
    ) AS given
    WHERE flotilla_outbox.id = given.id;
    -- Commits that notify follow one another in the whole database: only while a relay sleeps.
    IF NOT pg_try_advisory_xact_lock_shared({ASLEEP}, TG_RELID::integer) THEN
        PERFORM pg_notify('flotilla_outbox', '');
    END IF;
    RETURN NULL;
END $$""",
    # A live model's row is set, by a plan that the session keeps. `ends`: nothing follows but the commit. So what is deferred
    # is done first, and the transaction's only row gets its position where it is written.
    f"""CREATE FUNCTION flotilla_outbox_set(
    of_channel varchar, of_key varchar, new_live varchar, new_body bytea, ends boolean
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    this text := pg_current_xact_id()::text;
BEGIN
    IF NOT ends OR current_setting('flotilla.noted', true) = this THEN
        INSERT INTO flotilla_outbox (channel, key, operation, live, body)
        VALUES (of_channel, of_key, 'set', new_live, new_body)
        ON CONFLICT (transaction, channel, key, (CASE WHEN operation = 'publish' THEN id ELSE 0 END))
        WHERE position IS NULL DO UPDATE
        SET operation = EXCLUDED.operation, live = EXCLUDED.live, body = EXCLUDED.body;
        RETURN;
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM pg_advisory_xact_lock_shared({GATE}, 0), pg_advisory_xact_lock({CHANNELS}, hashtext(of_channel));
    INSERT INTO flotilla_outbox (channel, key, operation, live, body, transaction, position, written_at)
    VALUES (of_channel, of_key, 'set', new_live, new_body, this, nextval('flotilla_outbox_position'),
        clock_timestamp());
    IF NOT pg_try_advisory_xact_lock_shared({ASLEEP}, 'flotilla_outbox_commit'::regclass::oid::integer) THEN
        PERFORM pg_notify('flotilla_outbox', '');
    END IF;
END $$""",
    """CREATE TRIGGER flotilla_outbox_note AFTER INSERT ON flotilla_outbox FOR EACH ROW
    WHEN (NEW.position IS NULL
        AND current_setting('flotilla.noted', true) IS DISTINCT FROM pg_current_xact_id()::text)
    EXECUTE FUNCTION flotilla_outbox_note()""",
    """CREATE CONSTRAINT TRIGGER flotilla_outbox_commit AFTER INSERT OR UPDATE ON flotilla_outbox_commit
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION flotilla_outbox_commit()""",
]
POSTGRESQL_BACK = [
    "DROP TABLE flotilla_outbox_commit",
    "DROP TRIGGER flotilla_outbox_note ON flotilla_outbox",
    "DROP FUNCTION flotilla_outbox_set(varchar, varchar, varchar, bytea, boolean)",
    "DROP FUNCTION flotilla_outbox_commit()",
    "DROP FUNCTION flotilla_outbox_note()",
    "DROP INDEX flotilla_outbox_once, flotilla_outbox_failed, flotilla_outbox_sent, flotilla_outbox_waiting, flotilla_outbox_uncommitted",
    "DROP SEQUENCE flotilla_outbox_position",
]
SQLITE = [
    """CREATE INDEX flotilla_outbox_transaction ON flotilla_outbox ("transaction", channel, "key")
    WHERE "transaction" <> ''""",
    """CREATE INDEX flotilla_outbox_waiting ON flotilla_outbox (position) WHERE sent_at IS NULL AND failed_at IS NULL""",
    "CREATE INDEX flotilla_outbox_sent ON flotilla_outbox (sent_at) WHERE sent_at IS NOT NULL",
    "CREATE INDEX flotilla_outbox_failed ON flotilla_outbox (failed_at) WHERE failed_at IS NOT NULL",
    "CREATE UNIQUE INDEX flotilla_outbox_once ON flotilla_outbox (channel, once) WHERE once IS NOT NULL",
    """CREATE TRIGGER flotilla_outbox_position AFTER INSERT ON flotilla_outbox WHEN NEW.position IS NULL
BEGIN
    UPDATE flotilla_outbox SET position = NEW.id WHERE id = NEW.id;
END""",
]
SQLITE_BACK = [
    "DROP TRIGGER flotilla_outbox_position",
    "DROP INDEX flotilla_outbox_once",
    "DROP INDEX flotilla_outbox_failed",
    "DROP INDEX flotilla_outbox_sent",
    "DROP INDEX flotilla_outbox_waiting",
    "DROP INDEX flotilla_outbox_transaction",
]
MYSQL = [
    # Else names that differ in their case are one channel, or one key.
    """ALTER TABLE flotilla_outbox
    MODIFY channel varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    MODIFY `key` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''""",
    "CREATE INDEX flotilla_outbox_transaction ON flotilla_outbox (`transaction`, channel, `key`)",
    "CREATE INDEX flotilla_outbox_waiting ON flotilla_outbox (sent_at, failed_at, position)",
    "CREATE INDEX flotilla_outbox_position ON flotilla_outbox (position)",
    "CREATE UNIQUE INDEX flotilla_outbox_once ON flotilla_outbox (channel, once)",
]
MYSQL_BACK = [
    "DROP INDEX flotilla_outbox_once ON flotilla_outbox",
    "DROP INDEX flotilla_outbox_position ON flotilla_outbox",
    "DROP INDEX flotilla_outbox_waiting ON flotilla_outbox",
    "DROP INDEX flotilla_outbox_transaction ON flotilla_outbox",
]


class Migration(migrations.Migration):
    dependencies = [
        ("flotilla_realtime", "0002_tails"),
    ]

    operations = [
        migrations.CreateModel(
            name="OutboxRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("channel", models.CharField(max_length=255)),
                ("position", models.BigIntegerField(editable=False, null=True)),
                (
                    "transaction",
                    models.CharField(
                        db_default=flotilla.realtime.outbox.columns.CurrentTransaction(), editable=False, max_length=40
                    ),
                ),
                ("key", models.CharField(db_default="", default="", max_length=255)),
                ("operation", models.CharField(db_default="publish", default="publish", max_length=8)),
                ("live", models.CharField(db_default="", default="", max_length=255)),
                ("body", models.BinaryField(null=True)),
                (
                    "keywords",
                    models.JSONField(db_default=flotilla.realtime.outbox.columns.NoKeywords(), default=dict),
                ),
                ("once", models.CharField(editable=False, max_length=24, null=True)),
                ("written_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("sent_at", models.DateTimeField(null=True)),
                ("epoch", models.CharField(db_default="", default="", max_length=64)),
                ("offset", models.BigIntegerField(db_default=0, default=0)),
                ("attempts", models.PositiveIntegerField(db_default=0, default=0)),
                ("failed_at", models.DateTimeField(null=True)),
                ("error", models.CharField(db_default="", default="", max_length=500)),
            ],
            options={
                "verbose_name": "outbox row",
                "db_table": "flotilla_outbox",
                "permissions": [("control_outboxrow", "Can retry and drop publications of the outbox")],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["channel", "position"], name="flotilla_outbox_channel"),
                ],
            },
        ),
        RunVendorSQL(
            {"postgresql": POSTGRESQL, "sqlite": SQLITE, "mysql": MYSQL},
            {"postgresql": POSTGRESQL_BACK, "sqlite": SQLITE_BACK, "mysql": MYSQL_BACK},
            model_name="outboxrow",
        ),
    ]
