"""What ``from buildbot.plugins import changes, schedulers, steps, util, worker`` gives to a master.cfg.

Each namespace is a list of names and the module each is defined in, which is imported when the name is
first used. Names that other packages offer under the entry points that plugins of existing installations
use (``buildbot.steps``, ``buildbot.util``, …) are found too. A name that does not exist is an error that
says which ones are close.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

#: a list of names that is longer than this says nothing to anybody
_LONGEST_HINT = 200

#: names of Buildbot 4.3 that this version does not have: why, and what to use instead; docs/migration.md lists them
LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "util": {
        "PasswordManhole": "a guessed password would give full control; use AuthorizedKeysManhole",
        "TelnetManhole": "telnet sends passwords in clear; use AuthorizedKeysManhole",
    },
    "steps": {
        "BuildEPYDoc": "Epydoc is no longer maintained; run another generator with ShellCommand, or use Sphinx",
        "BuildbotCiSetupSteps": "it serves the builds of Buildbot itself; use ShellSequence or Trigger",
        "BuildbotTestCiTrigger": "it serves the builds of Buildbot itself; use Trigger",
        "Darcs": "run darcs with ShellCommand, or move the repository to Git or Mercurial",
        "Monotone": "Monotone is no longer maintained; move the repository to Git or Mercurial",
    },
}


class Namespace:
    """Names that are imported when they are first used.

    Args:
        name: the namespace's name in `buildbot.plugins`.
        modules: module → the names taken from it, separated by blanks.
        inner: namespaces inside this one by name: ``util.svn``.
    """

    def __init__(self, name: str, modules: Mapping[str, str], **inner: Namespace) -> None:
        self._name = name
        self._modules = {each: module for module, names in modules.items() for each in names.split()}
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._inner:
            return self._inner[name]
        if name in self._modules:
            value: Any = getattr(_module(self._modules[name]), name)
        else:
            value = self._from_other_packages(name)
        setattr(self, name, value)
        return value

    def _from_other_packages(self, name: str) -> Any:
        for entry in entry_points(group=f"buildbot.{self._name}", name=name):
            return entry.load()
        if instead := LEFT_OUT.get(self._name, {}).get(name):
            raise AttributeError(f"buildbot.plugins.{self._name} does not have {name!r}: {instead}")
        raise AttributeError(f"buildbot.plugins.{self._name} has no {name!r}{_hint(name, dir(self))}")

    def __dir__(self) -> list[str]:
        others = (entry.name for entry in entry_points(group=f"buildbot.{self._name}"))
        return sorted({*self._modules, *self._inner, *others})

    def __repr__(self) -> str:
        return f"<buildbot.plugins.{self._name}>"


changes = Namespace(
    "changes",
    {
        "buildbot.changes.base": "ChangeSource PollingChangeSource",
        "buildbot.changes.bitbucket": "BitbucketPullrequestPoller",
        "buildbot.changes.gerritchangesource": "GerritChangeSource GerritEventLogPoller",
        "buildbot.changes.github": "GitHubPullrequestPoller",
        "buildbot.changes.gitpoller": "GitPoller",
        "buildbot.changes.hgpoller": "HgPoller",
        "buildbot.changes.mail": (
            "BzrLaunchpadEmailMaildirSource CVSMaildirSource MaildirSource SVNCommitEmailMaildirSource"
        ),
        "buildbot.changes.p4poller": "P4Source",
        "buildbot.changes.pb": "PBChangeSource",
        "buildbot.changes.svnpoller": "SVNPoller",
    },
)
reporters = Namespace(
    "reporters",
    {
        "buildbot.reporters.base": "ReporterBase",
        "buildbot.reporters.bitbucket": "BitbucketStatusPush",
        "buildbot.reporters.bitbucketserver": (
            "BitbucketServerCoreAPIStatusPush BitbucketServerPRCommentPush BitbucketServerStatusPush"
        ),
        "buildbot.reporters.generators.build": "BuildStartEndStatusGenerator BuildStatusGenerator",
        "buildbot.reporters.generators.buildrequest": "BuildRequestGenerator",
        "buildbot.reporters.generators.buildset": "BuildSetCombinedStatusGenerator BuildSetStatusGenerator",
        "buildbot.reporters.generators.worker": "WorkerMissingGenerator",
        "buildbot.reporters.gerrit": "GerritStatusPush GerritVerifyStatusPush",
        "buildbot.reporters.gitea": "GiteaStatusPush",
        "buildbot.reporters.github": "GitHubChecksPush GitHubCommentPush GitHubStatusPush",
        "buildbot.reporters.gitlab": "GitLabStatusPush",
        "buildbot.reporters.http": "HttpStatusPush",
        "buildbot.reporters.irc": "IRC",
        "buildbot.reporters.push": "PushjetNotifier PushoverNotifier",
        "buildbot.reporters.telegram": "TelegramBot",
        "buildbot.reporters.zulip": "ZulipStatusPush",
        "buildbot.reporters.mail": "MailNotifier",
        "buildbot.reporters.message": (
            "MessageFormatter MessageFormatterEmpty MessageFormatterFunction MessageFormatterFunctionRaw "
            "MessageFormatterMissingWorker MessageFormatterRenderable"
        ),
    },
)
schedulers = Namespace(
    "schedulers",
    {
        "buildbot.schedulers.base": "BaseScheduler ReconfigurableBaseScheduler",
        "buildbot.schedulers.basic": "AnyBranchScheduler SingleBranchScheduler",
        "buildbot.schedulers.dependent": "Dependent",
        "buildbot.schedulers.forcesched": "ForceScheduler",
        "buildbot.schedulers.timed": "Nightly NightlyTriggerable Periodic",
        "buildbot.schedulers.triggerable": "Triggerable",
        "buildbot.schedulers.trysched": "Try_Jobdir Try_Userpass",
    },
)
secrets = Namespace(
    "secrets",
    {
        "buildbot.secrets.providers.base": "SecretProviderBase",
        "buildbot.secrets.providers.file": "SecretInAFile",
        "buildbot.secrets.providers.passwordstore": "SecretInPass",
        "buildbot.secrets.providers.vault_hvac": (
            "HashiCorpVaultKvSecretProvider VaultAuthenticatorApprole VaultAuthenticatorToken"
        ),
    },
)
steps = Namespace(
    "steps",
    {
        "buildbot.process.buildstep": "BuildStep CommandMixin ShellMixin",
        "buildbot.steps.cmake": "CMake",
        "buildbot.steps.cppcheck": "Cppcheck",
        "buildbot.steps.gitdiffinfo": "GitDiffInfo",
        "buildbot.steps.http": "DELETE GET HEAD HTTPStep OPTIONS POST PUT",
        "buildbot.steps.master": "Assert LogRenderable MasterShellCommand SetProperties SetProperty",
        "buildbot.steps.maxq": "MaxQ",
        "buildbot.steps.mswin": "Robocopy",
        "buildbot.steps.package.deb.lintian": "DebLintian",
        "buildbot.steps.package.deb.pbuilder": "DebCowbuilder DebPbuilder UbuCowbuilder UbuPbuilder",
        "buildbot.steps.package.rpm": "Mock MockBuildSRPM MockRebuild RpmBuild RpmLint",
        "buildbot.steps.python": "PyFlakes PyLint Sphinx",
        "buildbot.steps.python_twisted": "HLint RemovePYCs Trial",
        "buildbot.steps.shell": (
            "Compile Configure PerlModuleTest SetPropertyFromCommand ShellCommand Test TreeSize "
            "WarningCountingShellCommand"
        ),
        "buildbot.steps.shellsequence": "ShellSequence",
        "buildbot.steps.source.bzr": "Bzr",
        "buildbot.steps.source.cvs": "CVS",
        "buildbot.steps.source.gerrit": "Gerrit",
        "buildbot.steps.source.git": "Git GitCommit GitPush GitTag",
        "buildbot.steps.source.github": "GitHub",
        "buildbot.steps.source.gitlab": "GitLab",
        "buildbot.steps.source.mercurial": "Mercurial",
        "buildbot.steps.source.p4": "P4",
        "buildbot.steps.source.repo": "Repo",
        "buildbot.steps.source.svn": "SVN",
        "buildbot.steps.subunit": "SubunitShellCommand",
        "buildbot.steps.transfer": (
            "DirectoryUpload FileDownload FileUpload JSONPropertiesDownload JSONStringDownload MultipleFileUpload "
            "StringDownload"
        ),
        "buildbot.steps.trigger": "Trigger",
        "buildbot.steps.vstudio": (
            "MsBuild MsBuild12 MsBuild14 MsBuild141 MsBuild15 MsBuild16 MsBuild17 MsBuild4 VC10 VC11 VC12 VC14 VC141 "
            "VC6 VC7 VC8 VC9 VCExpress9 VS2003 VS2005 VS2008 VS2010 VS2012 VS2013 VS2015 VS2017 VS2019 VS2022"
        ),
        "buildbot.steps.worker": "CopyDirectory FileExists MakeDirectory RemoveDirectory SetPropertiesFromEnv",
    },
)
util = Namespace(
    "util",
    {
        "buildbot.changes.ssfilter": "SourceStampFilter",
        "buildbot.schedulers.canceller": "FailingBuildsetCanceller OldBuildCanceller",
        "buildbot.changes.filter": "ChangeFilter GerritChangeFilter",
        "buildbot.config.builder": "BuilderConfig",
        "buildbot.config.locks": "MasterLock WorkerLock",
        "buildbot.config.projects": "Codebase Project",
        "buildbot.config.retention": "JanitorConfigurator",
        "buildbot.config.revlinks": "RevlinkMatch",
        "buildbot.db.dbconfig": "DbConfig",
        "buildbot.manhole": "AuthorizedKeysManhole",
        "buildbot.process.buildstep": "BuildStep CommandMixin ShellMixin",
        "buildbot.process.factory": "BuildFactory",
        "buildbot.process.logobserver": "LogLineObserver",
        "buildbot.process.properties": "Interpolate Properties Property Secret Transform renderer",
        "buildbot.process.renderables": "FlattenList URLForBuild WithProperties",
        "buildbot.process.workerforbuilder": "enforceChosenWorker",
        "buildbot.schedulers.groups": (
            "AnyPropertyParameter CodebaseParameter NestedParameter ParameterGroup PatchParameter"
        ),
        "buildbot.schedulers.parameters": (
            "BaseParameter BooleanParameter ChoiceStringParameter FileParameter FixedParameter InheritBuildParameter "
            "IntParameter StringParameter TextParameter UserNameParameter WorkerChoiceParameter"
        ),
        "buildbot.steps.factories": "BasicBuildFactory BasicSVN CPAN Distutils GNUAutoconf QuickBuildFactory Trial",
        "buildbot.steps.shellsequence": "ShellArg",
        "buildbot.usermanager": "CommandlineUserManager",
        "buildbot.util.git_credential": "GitCredentialInputRenderer GitCredentialOptions",
        "buildbot.util.results": "CANCELLED EXCEPTION FAILURE RETRY Results SKIPPED SUCCESS WARNINGS",
        "buildbot.worker.kubeconfig": "KubeCtlProxyConfigLoader KubeHardcodedConfig KubeInClusterConfigLoader",
        "buildbot.worker.libvirt": "Connection",
        "buildbot.www.auth": (
            "CustomAuth HTPasswdAuth NoAuth RemoteUserAuth UserInfoProviderBase UserPasswordAuth UsersAuth"
        ),
        "buildbot.www.authz": "Authz fnmatchStrMatcher reStrMatcher",
        "buildbot.www.authz.endpointmatchers": (
            "AnyControlEndpointMatcher AnyEndpointMatcher EnableSchedulerEndpointMatcher EndpointMatcherBase "
            "ForceBuildEndpointMatcher RebuildBuildEndpointMatcher StopBuildEndpointMatcher ViewBuildsEndpointMatcher"
        ),
        "buildbot.www.authz.roles": (
            "RolesFromBase RolesFromDomain RolesFromEmails RolesFromGroups RolesFromOwner RolesFromUsername"
        ),
        "buildbot.www.avatar": "AvatarBase AvatarGitHub AvatarGravatar",
        "buildbot.www.ldapuserinfo": "LdapUserInfo",
        "buildbot.www.oauth2": "BitbucketAuth GitHubAuth GitLabAuth GoogleAuth KeyCloakAuth OAuth2Auth",
    },
    repo=Namespace(
        "util.repo",
        {
            "buildbot.steps.source.repo": "DownloadsFromChangeSource DownloadsFromProperties",
        },
    ),
    svn=Namespace(
        "util.svn",
        {
            "buildbot.changes.svnpoller": "split_file_alwaystrunk split_file_branches split_file_projects_branches",
        },
    ),
)
webhooks = Namespace(
    "webhooks",
    {
        "buildbot.www.hooks.handlers": (
            "base bitbucket bitbucketcloud bitbucketserver gitea github gitlab gitorious poller"
        ),
    },
)
worker = Namespace(
    "worker",
    {
        "buildbot.worker.base": "Worker",
        "buildbot.worker.docker": "DockerLatentWorker",
        "buildbot.worker.ec2": "EC2LatentWorker",
        "buildbot.worker.kubernetes": "KubeLatentWorker",
        "buildbot.worker.libvirt": "LibVirtWorker",
        "buildbot.worker.local": "LocalWorker",
        "buildbot.worker.openstack": "OpenStackLatentWorker",
    },
)

NAMESPACES: Mapping[str, Namespace] = {
    "changes": changes,
    "reporters": reporters,
    "schedulers": schedulers,
    "secrets": secrets,
    "steps": steps,
    "util": util,
    "webhooks": webhooks,
    "worker": worker,
}

__all__ = ["changes", "reporters", "schedulers", "secrets", "steps", "util", "webhooks", "worker"]


def _module(name: str) -> ModuleType:
    # Configurations are loaded without storing bytecode, because of the modules beside them. That of this package is
    # stored, or each start would compile the kinds again.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, bool(sys.flags.dont_write_bytecode)
    try:
        return import_module(name)
    finally:
        sys.dont_write_bytecode = before


def _hint(name: str, known: Sequence[str]) -> str:
    """The names close to a mistyped one; without any, all names if these are few."""
    close = _close_to(name, known, 3)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if not known:
        return "; this version has none, and no package adds one"
    listed = ", ".join(known)
    return f"; it has {listed}" if len(listed) <= _LONGEST_HINT else ""


def _close_to(name: str, known: Iterable[str], most: int) -> list[str]:
    from difflib import get_close_matches  # only mistakes need it

    return get_close_matches(name, list(known), n=most)


def __getattr__(name: str) -> Any:
    # An AttributeError would reach the user as a bare "cannot import name". Dunders are what Python asks.
    if name.startswith("__"):
        raise AttributeError(name)
    close = _close_to(name, NAMESPACES, 1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(NAMESPACES))}"
    raise ImportError(f"buildbot.plugins has no {name!r}{hint}")
