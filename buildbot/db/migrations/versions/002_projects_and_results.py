"""Projects, codebases with their commits and branches, build data, test results; look-ups by revision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "002"
down_revision = "001"
branch_labels = None
depends_on = None

#: an index for look-ups of exact values of text of any length (buildbot.db.dialects.expressions)
EXACT_TEXT = {"exact_text": True}


def upgrade() -> None:
    """Create the tables and indexes; what builders said of projects named none, since there were none."""
    op.execute("UPDATE builders SET projectid = NULL")
    op.create_table(
        "projects",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_format", sa.Text(), nullable=True),
        sa.Column("description_html", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_projects_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "test_code_paths",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_code_paths")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_test_code_paths_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "test_names",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_names")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_test_names_name_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "codebases",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("projectid", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["projectid"], ["projects.id"], name=op.f("fk_codebases_projectid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_codebases")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_codebases_projectid_name_hash", "codebases", ["projectid", "name_hash"], unique=True)
    op.create_table(
        "commits",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("codebaseid", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("committer", sa.Text(), nullable=True),
        sa.Column("comments", sa.Text(), nullable=False),
        sa.Column("when_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("revision_hash", sa.String(32), nullable=False),
        sa.Column("parent_commitid", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["codebaseid"], ["codebases.id"], name=op.f("fk_commits_codebaseid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["parent_commitid"], ["commits.id"], name=op.f("fk_commits_parent_commitid"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commits")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_commits_codebaseid_id", "commits", ["codebaseid", "id"], unique=False)
    op.create_index(op.f("ix_commits_parent_commitid"), "commits", ["parent_commitid"], unique=False)
    op.create_index(
        "ix_commits_revision",
        "commits",
        ["revision"],
        unique=False,
        info=EXACT_TEXT,
    )
    op.create_index("uq_commits_codebaseid_revision_hash", "commits", ["codebaseid", "revision_hash"], unique=True)
    op.create_table(
        "branches",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("codebaseid", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("commitid", sa.BigInteger(), nullable=True),
        sa.Column("last_timestamp", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["codebaseid"], ["codebases.id"], name=op.f("fk_branches_codebaseid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["commitid"], ["commits.id"], name=op.f("fk_branches_commitid"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branches")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_branches_commitid"), "branches", ["commitid"], unique=False)
    op.create_index("uq_branches_codebaseid_name_hash", "branches", ["codebaseid", "name_hash"], unique=True)
    op.create_table(
        "build_data",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("buildid", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_hash", sa.String(32), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["buildid"], ["builds.id"], name=op.f("fk_build_data_buildid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_data")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_build_data_buildid_name_hash", "build_data", ["buildid", "name_hash"], unique=True)
    op.create_table(
        "build_data_values",
        sa.Column("build_dataid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["build_dataid"], ["build_data.id"], name=op.f("fk_build_data_values_build_dataid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("build_dataid", name=op.f("pk_build_data_values")),
    )
    op.create_table(
        "test_result_sets",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("builderid", sa.BigInteger(), nullable=False),
        sa.Column("buildid", sa.BigInteger(), nullable=False),
        sa.Column("stepid", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("value_unit", sa.Text(), nullable=False),
        sa.Column("tests_passed", sa.Integer(), nullable=True),
        sa.Column("tests_failed", sa.Integer(), nullable=True),
        sa.Column("complete", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["builderid"], ["builders.id"], name=op.f("fk_test_result_sets_builderid")),
        sa.ForeignKeyConstraint(
            ["buildid"], ["builds.id"], name=op.f("fk_test_result_sets_buildid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["stepid"], ["steps.id"], name=op.f("fk_test_result_sets_stepid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_result_sets")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_test_result_sets_builderid_id", "test_result_sets", ["builderid", "id"], unique=False)
    op.create_index(op.f("ix_test_result_sets_buildid"), "test_result_sets", ["buildid"], unique=False)
    op.create_index(op.f("ix_test_result_sets_complete"), "test_result_sets", ["complete"], unique=False)
    op.create_index(op.f("ix_test_result_sets_stepid"), "test_result_sets", ["stepid"], unique=False)
    op.create_table(
        "test_results",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("builderid", sa.BigInteger(), nullable=False),
        sa.Column("test_result_setid", sa.BigInteger(), nullable=False),
        sa.Column("test_nameid", sa.BigInteger(), nullable=True),
        sa.Column("test_code_pathid", sa.BigInteger(), nullable=True),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("duration_ns", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["test_result_setid"],
            ["test_result_sets.id"],
            name=op.f("fk_test_results_test_result_setid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_results")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_test_results_test_result_setid_id", "test_results", ["test_result_setid", "id"], unique=False)
    op.create_index(op.f("ix_builders_projectid"), "builders", ["projectid"], unique=False)
    op.create_index(
        "ix_changes_revision",
        "changes",
        ["revision"],
        unique=False,
        info=EXACT_TEXT,
    )
    op.create_index(
        "ix_sourcestamps_revision",
        "sourcestamps",
        ["revision"],
        unique=False,
        info=EXACT_TEXT,
    )
