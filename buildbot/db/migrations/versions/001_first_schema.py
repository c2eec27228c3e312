"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables, and the one row of the clock."""
    op.create_table(
        "builders",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_format", sa.Text(), nullable=True),
        sa.Column("description_html", sa.Text(), nullable=True),
        sa.Column("projectid", sa.BigInteger(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("last_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builders")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_builders_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "changesources",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changesources")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_changesources_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("trimmed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock")),
    )
    op.create_table(
        "consumers",
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name_hash", name=op.f("pk_consumers")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("routing_keys", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("masterid", sa.BigInteger(), nullable=False),
        sa.Column("group_token", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_created_at", "events", ["created_at"], unique=False)
    op.create_table(
        "masters",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("active", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_active", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("epoch", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_masters")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_masters_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "objects",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("object_hash", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objects")),
        sa.UniqueConstraint("object_hash", name=op.f("uq_objects_object_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "patches",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("subdir", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patches")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "schedulers",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("enabled", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("force_button_name", sa.Text(), nullable=True),
        sa.Column("force_label", sa.Text(), nullable=True),
        sa.Column("force_fields", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedulers")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_schedulers_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sourcestampsets",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sourcestampsets")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("identifier_hash", sa.String(32), nullable=False),
        sa.Column("bb_username", sa.Text(), nullable=True),
        sa.Column("bb_username_hash", sa.String(32), nullable=True),
        sa.Column("bb_password", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_users_bb_username_hash"), "users", ["bb_username_hash"], unique=False)
    op.create_index(op.f("ix_users_identifier_hash"), "users", ["identifier_hash"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("info", sa.Text(), nullable=False),
        sa.Column("paused", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("graceful", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_workers_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "builder_masters",
        sa.Column("builderid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("masterid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["builderid"], ["builders.id"], name=op.f("fk_builder_masters_builderid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["masterid"], ["masters.id"], name=op.f("fk_builder_masters_masterid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("builderid", "masterid", name=op.f("pk_builder_masters")),
    )
    op.create_index(op.f("ix_builder_masters_masterid"), "builder_masters", ["masterid"], unique=False)
    op.create_table(
        "buildsets",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("external_idstring", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sourcestampsetid", sa.BigInteger(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("complete_at", sa.BigInteger(), nullable=True),
        sa.Column("results", sa.Integer(), server_default=sa.text("-1"), nullable=False),
        sa.Column("scheduler", sa.Text(), nullable=True),
        sa.Column("parent_buildid", sa.BigInteger(), nullable=True),
        sa.Column("parent_relationship", sa.Text(), nullable=True),
        sa.Column("rebuilt_buildid", sa.BigInteger(), nullable=True),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sourcestampsetid"], ["sourcestampsets.id"], name=op.f("fk_buildsets_sourcestampsetid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_buildsets")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_buildsets_complete"), "buildsets", ["complete"], unique=False)
    op.create_index(op.f("ix_buildsets_parent_buildid"), "buildsets", ["parent_buildid"], unique=False)
    op.create_index(op.f("ix_buildsets_rebuilt_buildid"), "buildsets", ["rebuilt_buildid"], unique=False)
    op.create_index(op.f("ix_buildsets_sourcestampsetid"), "buildsets", ["sourcestampsetid"], unique=False)
    op.create_index(op.f("ix_buildsets_submitted_at"), "buildsets", ["submitted_at"], unique=False)
    op.create_table(
        "changesource_masters",
        sa.Column("changesourceid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("masterid", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["changesourceid"],
            ["changesources.id"],
            name=op.f("fk_changesource_masters_changesourceid"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["masterid"], ["masters.id"], name=op.f("fk_changesource_masters_masterid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("changesourceid", name=op.f("pk_changesource_masters")),
    )
    op.create_index(op.f("ix_changesource_masters_masterid"), "changesource_masters", ["masterid"], unique=False)
    op.create_table(
        "configured_workers",
        sa.Column("workerid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("masterid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("builderid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["builderid"], ["builders.id"], name=op.f("fk_configured_workers_builderid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["masterid"], ["masters.id"], name=op.f("fk_configured_workers_masterid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workerid"], ["workers.id"], name=op.f("fk_configured_workers_workerid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workerid", "masterid", "builderid", name=op.f("pk_configured_workers")),
    )
    op.create_index(op.f("ix_configured_workers_builderid"), "configured_workers", ["builderid"], unique=False)
    op.create_index(op.f("ix_configured_workers_masterid"), "configured_workers", ["masterid"], unique=False)
    op.create_table(
        "connected_workers",
        sa.Column("workerid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("masterid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["masterid"], ["masters.id"], name=op.f("fk_connected_workers_masterid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workerid"], ["workers.id"], name=op.f("fk_connected_workers_workerid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workerid", "masterid", name=op.f("pk_connected_workers")),
    )
    op.create_index(op.f("ix_connected_workers_masterid"), "connected_workers", ["masterid"], unique=False)
    op.create_table(
        "force_builders",
        sa.Column("schedulerid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("builderid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["builderid"], ["builders.id"], name=op.f("fk_force_builders_builderid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["schedulerid"], ["schedulers.id"], name=op.f("fk_force_builders_schedulerid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("schedulerid", "builderid", name=op.f("pk_force_builders")),
    )
    op.create_index(op.f("ix_force_builders_builderid"), "force_builders", ["builderid"], unique=False)
    op.create_table(
        "object_state",
        sa.Column("objectid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["objectid"], ["objects.id"], name=op.f("fk_object_state_objectid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("objectid", "name_hash", name=op.f("pk_object_state")),
    )
    op.create_table(
        "scheduler_masters",
        sa.Column("schedulerid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("masterid", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["masterid"], ["masters.id"], name=op.f("fk_scheduler_masters_masterid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["schedulerid"],
            ["schedulers.id"],
            name=op.f("fk_scheduler_masters_schedulerid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("schedulerid", name=op.f("pk_scheduler_masters")),
    )
    op.create_index(op.f("ix_scheduler_masters_masterid"), "scheduler_masters", ["masterid"], unique=False)
    op.create_table(
        "sourcestamps",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("sourcestampsetid", sa.BigInteger(), nullable=True),
        sa.Column("content_hash", sa.String(32), nullable=True),
        sa.Column("branch", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("codebase", sa.Text(), nullable=False),
        sa.Column("patchid", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["patchid"], ["patches.id"], name=op.f("fk_sourcestamps_patchid")),
        sa.ForeignKeyConstraint(
            ["sourcestampsetid"], ["sourcestampsets.id"], name=op.f("fk_sourcestamps_sourcestampsetid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sourcestamps")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_sourcestamps_content_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_sourcestamps_sourcestampsetid"), "sourcestamps", ["sourcestampsetid"], unique=False)
    op.create_table(
        "users_info",
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attr_type_hash", sa.String(32), nullable=False),
        sa.Column("attr_type", sa.Text(), nullable=False),
        sa.Column("attr_data", sa.Text(), nullable=False),
        sa.Column("attr_hash", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["uid"], ["users.id"], name=op.f("fk_users_info_uid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid", "attr_type_hash", name=op.f("pk_users_info")),
        sa.UniqueConstraint("attr_hash", name=op.f("uq_users_info_attr_hash")),
    )
    op.create_table(
        "buildrequests",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("buildsetid", sa.BigInteger(), nullable=False),
        sa.Column("builderid", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("complete", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("results", sa.Integer(), server_default=sa.text("-1"), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("complete_at", sa.BigInteger(), nullable=True),
        sa.Column("waited_for", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_by_masterid", sa.BigInteger(), nullable=True),
        sa.Column("claimed_epoch", sa.Integer(), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["builderid"], ["builders.id"], name=op.f("fk_buildrequests_builderid")),
        sa.ForeignKeyConstraint(["buildsetid"], ["buildsets.id"], name=op.f("fk_buildrequests_buildsetid")),
        sa.ForeignKeyConstraint(
            ["claimed_by_masterid"], ["masters.id"], name=op.f("fk_buildrequests_claimed_by_masterid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_buildrequests")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_buildrequests_builderid_id", "buildrequests", ["builderid", "id"], unique=False)
    op.create_index(op.f("ix_buildrequests_buildsetid"), "buildrequests", ["buildsetid"], unique=False)
    op.create_index(
        "ix_buildrequests_claimed_by_masterid",
        "buildrequests",
        ["claimed_by_masterid", "complete"],
        unique=False,
    )
    op.create_index(
        "ix_buildrequests_pending",
        "buildrequests",
        ["complete", "claimed_by_masterid", "builderid", "priority", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_buildrequests_submitted_at"), "buildrequests", ["submitted_at"], unique=False)
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("committer", sa.Text(), nullable=True),
        sa.Column("comments", sa.Text(), nullable=False),
        sa.Column("is_dir", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("branch", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("revlink", sa.Text(), nullable=True),
        sa.Column("when_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("codebase", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("links", sa.Text(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("parent_changeids", sa.Text(), nullable=False),
        sa.Column("sourcestampid", sa.BigInteger(), nullable=False),
        sa.Column("history_hash", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["sourcestampid"], ["sourcestamps.id"], name=op.f("fk_changes_sourcestampid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_history_hash_id", "changes", ["history_hash", "id"], unique=False)
    op.create_index(op.f("ix_changes_sourcestampid"), "changes", ["sourcestampid"], unique=False)
    op.create_index(op.f("ix_changes_when_timestamp"), "changes", ["when_timestamp"], unique=False)
    op.create_table(
        "sourcestampset_members",
        sa.Column("sourcestampsetid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ssid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["sourcestampsetid"],
            ["sourcestampsets.id"],
            name=op.f("fk_sourcestampset_members_sourcestampsetid"),
        ),
        sa.ForeignKeyConstraint(["ssid"], ["sourcestamps.id"], name=op.f("fk_sourcestampset_members_ssid")),
        sa.PrimaryKeyConstraint("sourcestampsetid", "ssid", name=op.f("pk_sourcestampset_members")),
    )
    op.create_index(op.f("ix_sourcestampset_members_ssid"), "sourcestampset_members", ["ssid"], unique=False)
    op.create_table(
        "builds",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("builderid", sa.BigInteger(), nullable=False),
        sa.Column("buildrequestid", sa.BigInteger(), nullable=False),
        sa.Column("workerid", sa.BigInteger(), nullable=True),
        sa.Column("masterid", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("complete_at", sa.BigInteger(), nullable=True),
        sa.Column("locks_duration_s", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state_string", sa.Text(), nullable=False),
        sa.Column("results", sa.Integer(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["builderid"], ["builders.id"], name=op.f("fk_builds_builderid")),
        sa.ForeignKeyConstraint(["buildrequestid"], ["buildrequests.id"], name=op.f("fk_builds_buildrequestid")),
        sa.ForeignKeyConstraint(["masterid"], ["masters.id"], name=op.f("fk_builds_masterid")),
        sa.ForeignKeyConstraint(["workerid"], ["workers.id"], name=op.f("fk_builds_workerid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builds")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_builds_buildrequestid"), "builds", ["buildrequestid"], unique=False)
    op.create_index("ix_builds_complete_at_id", "builds", ["complete_at", "id"], unique=False)
    op.create_index("ix_builds_masterid_complete_at", "builds", ["masterid", "complete_at"], unique=False)
    op.create_index("ix_builds_results_started_at", "builds", ["results", "started_at"], unique=False)
    op.create_index(op.f("ix_builds_started_at"), "builds", ["started_at"], unique=False)
    op.create_index("ix_builds_workerid_id", "builds", ["workerid", "id"], unique=False)
    op.create_index("uq_builds_builderid_number", "builds", ["builderid", "number"], unique=True)
    op.create_table(
        "change_users",
        sa.Column("changeid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["changeid"], ["changes.id"], name=op.f("fk_change_users_changeid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["uid"], ["users.id"], name=op.f("fk_change_users_uid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("changeid", "uid", name=op.f("pk_change_users")),
    )
    op.create_index("ix_change_users_uid", "change_users", ["uid"], unique=False)
    op.create_table(
        "scheduler_changes",
        sa.Column("objectid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changeid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("important", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["changeid"], ["changes.id"], name=op.f("fk_scheduler_changes_changeid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["objectid"], ["objects.id"], name=op.f("fk_scheduler_changes_objectid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("objectid", "changeid", name=op.f("pk_scheduler_changes")),
    )
    op.create_index(op.f("ix_scheduler_changes_changeid"), "scheduler_changes", ["changeid"], unique=False)
    op.create_table(
        "sourcestampset_changes",
        sa.Column("sourcestampsetid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ssid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changeid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["changeid"], ["changes.id"], name=op.f("fk_sourcestampset_changes_changeid")),
        sa.ForeignKeyConstraint(
            ["sourcestampsetid"],
            ["sourcestampsets.id"],
            name=op.f("fk_sourcestampset_changes_sourcestampsetid"),
        ),
        sa.ForeignKeyConstraint(["ssid"], ["sourcestamps.id"], name=op.f("fk_sourcestampset_changes_ssid")),
        sa.PrimaryKeyConstraint("sourcestampsetid", "ssid", "changeid", name=op.f("pk_sourcestampset_changes")),
    )
    op.create_index("ix_sourcestampset_changes_changeid", "sourcestampset_changes", ["changeid"], unique=False)
    op.create_index("ix_sourcestampset_changes_ssid", "sourcestampset_changes", ["ssid"], unique=False)
    op.create_table(
        "build_properties",
        sa.Column("buildid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["buildid"], ["builds.id"], name=op.f("fk_build_properties_buildid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("buildid", "name_hash", name=op.f("pk_build_properties")),
    )
    op.create_table(
        "steps",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("buildid", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("locks_acquired_at", sa.BigInteger(), nullable=True),
        sa.Column("complete_at", sa.BigInteger(), nullable=True),
        sa.Column("results", sa.Integer(), nullable=True),
        sa.Column("state_string", sa.Text(), nullable=False),
        sa.Column("urls", sa.Text(), nullable=False),
        sa.Column("hidden", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["buildid"], ["builds.id"], name=op.f("fk_steps_buildid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_steps_buildid_name_hash", "steps", ["buildid", "name_hash"], unique=True)
    op.create_index("uq_steps_buildid_number", "steps", ["buildid", "number"], unique=True)
    op.create_table(
        "logs",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("slug_hash", sa.String(32), nullable=False),
        sa.Column("stepid", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("num_lines", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["stepid"], ["steps.id"], name=op.f("fk_logs_stepid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logs")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_logs_stepid_slug_hash", "logs", ["stepid", "slug_hash"], unique=True)
    op.create_table(
        "logchunks",
        sa.Column("logid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_line", sa.Integer(), nullable=False),
        sa.Column("compressed", sa.SmallInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["logid"], ["logs.id"], name=op.f("fk_logchunks_logid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("logid", "first_line", name=op.f("pk_logchunks")),
    )
    op.execute("INSERT INTO clock (id, seq, trimmed) VALUES (1, 0, 0)")
