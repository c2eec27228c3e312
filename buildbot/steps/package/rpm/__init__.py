"""Steps that make and check RPM packages."""

from buildbot.steps.package.rpm.mock import Mock, MockBuildSRPM, MockRebuild
from buildbot.steps.package.rpm.rpmbuild import RpmBuild
from buildbot.steps.package.rpm.rpmlint import RpmLint

__all__ = ["Mock", "MockBuildSRPM", "MockRebuild", "RpmBuild", "RpmLint"]
