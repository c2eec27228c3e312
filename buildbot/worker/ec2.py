"""Workers in Amazon's EC2, through the package ``boto3``; its blocking calls run in threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.util.deferreds import asyncSleep
from buildbot.util.threads import OneByOne
from buildbot.worker.latent import AbstractLatentWorker

#: seconds between requests for the state of an instance that starts or stops
LOOK_S = 5.0
#: the tags by which a master finds an instance that it started before
WORKER_TAG, MASTER_TAG = "tenfold-worker", "tenfold-master"
#: the time whose prices of spot instances are averaged
PRICES_OF = timedelta(hours=24)
#: states of instances that cost money
_ALIVE = ("pending", "running", "stopping", "stopped")


def _owners(value: Any) -> list[str]:
    given = value if isinstance(value, list | tuple) else [value]
    found = [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in given]
    return list(checks.list_of(checks.name)(found))


def _pattern(value: Any) -> re.Pattern[str]:
    try:
        return re.compile(checks.name(value))
    except re.error as reason:
        raise ValueError(f"must be a regular expression, not {value!r} ({reason})") from None


def _volumes(value: Any) -> list[tuple[str, str]]:
    pairs: list[Any] = (
        [tuple(each) for each in value if isinstance(each, list | tuple)] if isinstance(value, list | tuple) else []
    )
    if not pairs or len(pairs) != len(value) or any([*map(type, pair)] != [str, str] for pair in pairs):
        raise ValueError(f"must be a list of pairs (volume id, device), not {checks.kind(value)}")
    return pairs


def _devices(value: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checks.list_of(checks.mapping)(value)
    return found


class EC2LatentWorker(AbstractLatentWorker):
    """An instance of EC2, made for builds and terminated after them.

    It needs the package ``boto3`` (``pip install 'tenfold[ec2]'``). Its image is `ami`, or the last one that matches
    `valid_ami_owners` and `valid_ami_location_regex`. The agent in the image knows the worker's name and password, or
    finds them in `user_data`.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "name",
        "password",
        "instance_type",
        "ami",
        "valid_ami_owners",
        "valid_ami_location_regex",
        "elastic_ip",
        "identifier",
        "secret_identifier",
        "aws_id_file_path",
        "user_data",
        "region",
        "keypair_name",
        "security_name",
        "spot_instance",
        "max_spot_price",
        "volumes",
        "placement",
        "price_multiplier",
        "tags",
        "product_description",
        "subnet_id",
        "security_group_ids",
        "instance_profile_name",
        "block_device_map",
        "session",
    )
    missing_timeout = 1200
    instance_type = argument(REQUIRED, checks.name, doc="the kind of machine, such as `m7i.large`")
    ami = argument(None, checks.optional(checks.name), doc="the id of the image")
    valid_ami_owners = argument(None, checks.optional(_owners), doc="accounts whose images may be used: one or a list")
    valid_ami_location_regex = argument(
        None,
        checks.optional(_pattern),
        doc="matches the beginning of an image's location; the first group orders images, as numbers if all are",
    )
    elastic_ip = argument(
        None, checks.optional(checks.name), doc="an elastic IP address of the account, which the instance gets"
    )
    identifier = argument(None, checks.optional(checks.name), doc="the access key; None: boto3 finds the login itself")
    secret_identifier = argument(None, checks.optional(checks.name), doc="the secret key that belongs to it")
    aws_id_file_path = argument(
        None, checks.optional(checks.name), doc="instead: a file with the access key and the secret key, a line each"
    )
    user_data = argument(None, checks.optional(checks.text), doc="the instance's user data")
    region = argument(None, checks.optional(checks.name), doc="the region; None: boto3's own setting")
    placement = argument(
        None,
        checks.optional(checks.name),
        doc="the letter of the availability zone, which follows the name of the region",
    )
    keypair_name = argument(None, checks.optional(checks.name), doc="the key pair for logins by ssh")
    security_name = argument(None, checks.optional(checks.name), doc="a security group by name; not with `subnet_id`")
    security_group_ids = argument(None, checks.optional(checks.list_of(checks.name)), doc="security groups by id")
    subnet_id = argument(None, checks.optional(checks.name), doc="the subnet of a VPC")
    instance_profile_name = argument(None, checks.optional(checks.name), doc="the role of the instance")
    volumes = argument(None, checks.optional(_volumes), doc="volumes to attach: pairs of id and device")
    block_device_map = argument(
        None,
        checks.optional(_devices),
        doc="disks to make, as `BlockDeviceMappings`; they are deleted with the instance unless they say otherwise",
    )
    tags = argument(None, checks.optional(checks.mapping), doc="tags of the instance")
    spot_instance = argument(False, checks.boolean, doc="whether it is a spot instance, which AWS may stop")
    max_spot_price = argument(1.6, checks.optional(checks.positive), doc="the highest price of an hour, in US dollars")
    price_multiplier = argument(
        1.2,
        checks.optional(checks.positive),
        doc="the highest price of an hour, as a multiple of the average of the last day",
    )
    product_description = argument("Linux/UNIX", checks.name, doc="the kind of instances whose prices are averaged")
    session = argument(None, doc="a `boto3.session.Session` to use instead of keys and region")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        called = f"{type(self).__name__} {self.name!r}"
        if find_spec("boto3") is None:
            error(f"{called} needs the package boto3, which is not installed: pip install 'tenfold[ec2]'")
        filters = self.valid_ami_owners is not None or self.valid_ami_location_regex is not None
        if (self.ami is not None) == filters:
            error(f"{called}: give either ami, or valid_ami_owners or valid_ami_location_regex or both")
        if (self.identifier is None) != (self.secret_identifier is None):
            error(f"{called}: identifier and secret_identifier belong together; give both or none")
        if self.identifier is not None and self.aws_id_file_path is not None:
            error(f"{called}: identifier and aws_id_file_path are both given; keep one")
        if self.subnet_id is not None and self.security_name is not None:
            error(f"{called}: with subnet_id security groups are given by security_group_ids, not by security_name")
        if self.spot_instance and self.max_spot_price is None and self.price_multiplier is None:
            error(f"{called}: a spot instance needs max_spot_price, price_multiplier or both")
        self.__calls = OneByOne()
        self.__ec2: Any = None
        #: the id of the instance; None while there is none
        self.instance_id: str | None = None

    async def start_instance(self, build: Any) -> list[str]:
        """Start the instance; see `AbstractLatentWorker.start_instance`."""
        self.instance_id = await self.__call(self.__create)
        while (state := await self.__call(self.__state)) == "pending":
            await asyncSleep(LOOK_S, self.master.reactor)
        if state != "running":
            raise LatentWorkerFailedToSubstantiate(f"instance {self.instance_id} is {state}, not running")
        await self.__call(self.__equip)
        return [self.instance_id or "", self.instance_type]

    async def check_instance(self) -> tuple[bool, str]:
        """Whether the instance runs."""
        state = await self.__call(self.__state)
        return state == "running", f"instance {self.instance_id} is {state}"

    async def stop_instance(self, fast: bool = False) -> None:
        """Terminate the instance; see `AbstractLatentWorker.stop_instance`."""
        if self.instance_id is None:
            return
        await self.__call(self.__terminate)
        while not fast and await self.__call(self.__state) != "terminated":
            await asyncSleep(LOOK_S, self.master.reactor)
        self.instance_id = None

    async def find_instance(self) -> bool:
        """Whether an instance of this master exists already, by its tags; its agent knows the password."""
        self.instance_id = await self.__call(self.__find)
        return self.instance_id is not None

    async def __call(self, function: Callable[[], Any]) -> Any:
        return await self.__calls.call(self.__translating_errors, function)

    # in threads

    def __translating_errors(self, function: Callable[[], Any]) -> Any:
        """Call a function that asks AWS; errors of boto3 become LatentWorkerFailedToSubstantiate."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self.__ec2 is None:
                self.__ec2 = self.__session().resource("ec2")
            return function()
        except (BotoCoreError, ClientError, OSError) as problem:
            raise LatentWorkerFailedToSubstantiate(f"AWS: {problem}") from problem

    def __session(self) -> Any:
        import boto3

        if self.session is not None:
            return self.session
        key, secret = self.identifier, self.secret_identifier
        if self.aws_id_file_path is not None:
            lines = Path(self.aws_id_file_path).expanduser().read_text().split()
            if len(lines) != 2:
                raise LatentWorkerFailedToSubstantiate(f"{self.aws_id_file_path} must have two lines, one for each key")
            key, secret = lines
        return boto3.session.Session(key, secret, region_name=self.region)

    def __create(self) -> str:
        wanted: dict[str, Any] = {
            "ImageId": self.ami or self.__newest_image(),
            "InstanceType": self.instance_type,
            "KeyName": self.keypair_name,
            "UserData": self.user_data,
            "SecurityGroups": [self.security_name] if self.security_name else None,
            "SecurityGroupIds": self.security_group_ids,
            "SubnetId": self.subnet_id,
            "IamInstanceProfile": {"Name": self.instance_profile_name} if self.instance_profile_name else None,
            "Placement": {"AvailabilityZone": self.__zone()} if self.placement else None,
            "BlockDeviceMappings": [self.__disk(each) for each in self.block_device_map or ()] or None,
            "InstanceMarketOptions": self.__spot_options() if self.spot_instance else None,
            "TagSpecifications": [{"ResourceType": "instance", "Tags": self.__tags()}],
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        (instance,) = self.__ec2.create_instances(MinCount=1, MaxCount=1, **given)
        return str(instance.id)

    def __tags(self) -> list[dict[str, str]]:
        tags = {"Name": self.name, **(self.tags or {}), WORKER_TAG: self.name, MASTER_TAG: self.master.name}
        return [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]

    def __zone(self) -> str:
        return f"{self.__ec2.meta.client.meta.region_name}{self.placement}"

    def __disk(self, device: Mapping[str, Any]) -> dict[str, Any]:
        """A disk of the instance, which is deleted with it unless it says otherwise."""
        if "Ebs" not in device:
            return dict(device)
        return {**device, "Ebs": {"DeleteOnTermination": True, **device["Ebs"]}}

    def __newest_image(self) -> str:
        owners = {"Owners": self.valid_ami_owners} if self.valid_ami_owners else {}
        pattern: re.Pattern[str] | None = self.valid_ami_location_regex
        found: list[tuple[str, str]] = []
        for image in self.__ec2.images.filter(**owners):
            location = str(image.image_location or "")
            match = pattern.match(location) if pattern else None
            if pattern is None or match is not None:
                order = match[1] if match is not None and match.re.groups else location
                found.append((str(order), image.id))
        if not found:
            raise LatentWorkerCannotSubstantiate("there is no image of these owners at such a location")
        if all(order.isdecimal() for order, _ in found):
            return max(found, key=lambda each: (int(each[0]), each[1]))[1]
        return max(found)[1]

    def __spot_options(self) -> dict[str, Any]:
        return {
            "MarketType": "spot",
            "SpotOptions": {"MaxPrice": f"{self.__price():.5f}", "SpotInstanceType": "one-time"},
        }

    def __price(self) -> float:
        """The highest price of an hour, in US dollars, by ``price_multiplier`` and ``max_spot_price``."""
        limits = [] if self.max_spot_price is None else [float(self.max_spot_price)]
        if self.price_multiplier is not None:
            zone = {"AvailabilityZone": self.__zone()} if self.placement else {}
            history = self.__ec2.meta.client.describe_spot_price_history(
                StartTime=datetime.now(UTC) - PRICES_OF,
                InstanceTypes=[self.instance_type],
                ProductDescriptions=[self.product_description],
                **zone,
            )["SpotPriceHistory"]
            prices = [float(each["SpotPrice"]) for each in history]
            if prices:
                limits.append(sum(prices) / len(prices) * self.price_multiplier)
        if not limits:
            raise LatentWorkerFailedToSubstantiate("there are no prices of such spot instances, and no max_spot_price")
        return min(limits)

    def __state(self) -> str:
        instance = self.__ec2.Instance(self.instance_id)
        return str(instance.state["Name"])

    def __equip(self) -> None:
        client = self.__ec2.meta.client
        if self.elastic_ip is not None:
            (address,) = client.describe_addresses(PublicIps=[self.elastic_ip])["Addresses"]
            which = (
                {"AllocationId": address["AllocationId"]}
                if "AllocationId" in address
                else {"PublicIp": self.elastic_ip}
            )
            client.associate_address(InstanceId=self.instance_id, **which)
        for volume, device in self.volumes or ():
            client.attach_volume(VolumeId=volume, InstanceId=self.instance_id, Device=device)

    def __terminate(self) -> None:
        self.__ec2.Instance(self.instance_id).terminate()

    def __find(self) -> str | None:
        filters = [
            {"Name": f"tag:{WORKER_TAG}", "Values": [self.name]},
            {"Name": f"tag:{MASTER_TAG}", "Values": [self.master.name]},
            {"Name": "instance-state-name", "Values": list(_ALIVE)},
        ]
        return next((str(each.id) for each in self.__ec2.instances.filter(Filters=filters)), None)
