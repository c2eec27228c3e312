"""Workers in EC2, against moto's imitation of its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.ec2.models import ec2_backends

from buildbot.config.errors import ConfigErrors
from buildbot.steps.shell import ShellCommand
from buildbot.test.running import until
from buildbot.test.workers import LatentHarness
from buildbot.util.results import EXCEPTION, RETRY, SUCCESS
from buildbot.worker import ec2 as kind
from buildbot.worker.ec2 import EC2LatentWorker

REGION = "eu-central-1"
#: moto's
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def session() -> Any:
    """A session for all tests, since each one reads megabytes of descriptions."""
    return boto3.session.Session("key", "secret", region_name=REGION)


@pytest.fixture
def cloud(session: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An EC2 with three images of the account, 2, 9 and 10."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws():
        ec2 = session.resource("ec2")
        ec2.session = session
        client = ec2.meta.client
        for number in ("9", "10", "2"):
            image = client.register_image(Name=f"ours-{number}", Architecture="x86_64")["ImageId"]
            ec2_backends[ACCOUNT][REGION].amis[image].image_location = f"ours/worker-{number}"
        yield ec2


def images(cloud: Any) -> dict[str, str]:
    return {image.name: image.id for image in cloud.images.filter(Owners=["self"])}


def place(cloud: Any, **arguments: Any) -> LatentHarness:
    given = {
        "session": cloud.session,
        "build_wait_timeout": 0,
        "ami": images(cloud)["ours-9"],
        **arguments,
    }
    return LatentHarness(EC2LatentWorker("w", "p", "m5.large", **given), ShellCommand(command="true"))


async def reached(farm: LatentHarness, state: str) -> None:
    """Advance the time until the instance reaches a state."""

    async def is_there() -> bool:
        farm.clock.advance(1)
        return farm.managed.state.name == state and (state == "STARTING" or farm.managed._activity is None)

    await until(is_there)


async def built(cloud: Any, farm: LatentHarness, logs_in: bool = True) -> tuple[dict[str, Any], Any]:
    """Run a build to its end; its row, and its instance while it ran."""
    farm.managed.quarantine.leave()
    buildid = await farm.build()
    seen = None
    if logs_in:

        async def is_ready() -> bool:
            farm.clock.advance(0.1)
            assert farm.builders["a"].running, farm.master.build(buildid)["state_string"]
            return bool(farm.worker.instance_id)

        await until(is_ready)
        await farm.log_in()
        await farm.ended()
        instance = cloud.Instance(farm.worker.instance_id)
        instance.load()
        seen = instance.meta.data
    await farm.ended()
    await reached(farm, "ASLEEP")
    return farm.master.build(buildid), seen


async def test_an_instance_for_a_build(cloud: Any) -> None:
    """The instance is made as configured, gets its volumes and address, and is terminated after the build."""
    client = cloud.meta.client
    volume = client.create_volume(Size=1, AvailabilityZone=f"{REGION}a")["VolumeId"]
    address = client.allocate_address(Domain="vpc")["PublicIp"]
    client.create_security_group(GroupName="builders", Description="d")
    client.create_key_pair(KeyName="pair")
    farm = place(
        cloud,
        user_data="hello",
        placement="a",
        security_name="builders",
        keypair_name="pair",
        tags={"team": "ci"},
        volumes=[(volume, "/dev/sdz")],
        elastic_ip=address,
        block_device_map=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5}}],
    )
    await farm.start()
    await reached(farm, "ASLEEP")
    build, seen = await built(cloud, farm)
    assert build["results"] == SUCCESS
    assert (seen["ImageId"], seen["InstanceType"], seen["KeyName"]) == (images(cloud)["ours-9"], "m5.large", "pair")
    assert seen["Placement"]["AvailabilityZone"] == f"{REGION}a" and seen["PublicIpAddress"] == address
    assert [group["GroupName"] for group in seen["SecurityGroups"]] == ["builders"]
    tags = {tag["Key"]: tag["Value"] for tag in seen["Tags"]}
    assert (tags["Name"], tags["team"], tags["tenfold-worker"]) == ("w", "ci", "w")
    disks = {disk["DeviceName"]: disk["Ebs"] for disk in seen["BlockDeviceMappings"]}
    assert disks["/dev/sdz"]["VolumeId"] == volume and disks["/dev/sdb"]["DeleteOnTermination"]
    assert {instance.state["Name"] for instance in cloud.instances.all()} == {"terminated"}
    await farm.stop()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"valid_ami_owners": int(ACCOUNT), "valid_ami_location_regex": r"ours/worker-(\d+)"}, "ours-10"),
        ({"valid_ami_location_regex": r"ours/worker-"}, "ours-9"),
    ],
)
async def test_the_last_image_that_fits(cloud: Any, arguments: dict[str, Any], name: str) -> None:
    """Images are ordered by the first group of the pattern, as numbers if possible, or by location."""
    farm = place(cloud, ami=None, **arguments)
    await farm.start()
    await reached(farm, "ASLEEP")
    _, seen = await built(cloud, farm)
    assert seen["ImageId"] == images(cloud)[name]
    await farm.stop()


async def test_spot_instances(cloud: Any, tmp_path: Path) -> None:
    """The price is limited by the maximum and by the average; keys may be in a file."""
    keys = tmp_path / "keys"
    keys.write_text("key\nsecret\n")
    farm = place(cloud, spot_instance=True, session=None, region=REGION, aws_id_file_path=str(keys))
    await farm.start()
    await reached(farm, "ASLEEP")
    build, seen = await built(cloud, farm)
    assert build["results"] == SUCCESS and seen["InstanceLifecycle"] == "spot"
    await farm.stop()


async def test_what_goes_wrong(cloud: Any) -> None:
    """The build has AWS's message; without a matching image it ends with EXCEPTION."""
    farm = place(cloud, elastic_ip="192.0.2.1")
    await farm.start()
    await reached(farm, "ASLEEP")
    build, _ = await built(cloud, farm, logs_in=False)
    assert build["results"] == RETRY and "worker not available: AWS: " in build["state_string"]
    assert "192.0.2.1" in build["state_string"]
    assert {instance.state["Name"] for instance in cloud.instances.all()} == {"terminated"}
    await farm.stop()
    farm = place(cloud, ami=None, valid_ami_location_regex="theirs")
    await farm.start()
    await reached(farm, "ASLEEP")
    build, _ = await built(cloud, farm, logs_in=False)
    assert build["results"] == EXCEPTION and "there is no image of these owners" in build["state_string"]
    await farm.stop()


async def test_an_instance_of_an_earlier_master(cloud: Any) -> None:
    """An instance is used if its agent logs in, otherwise terminated; other masters' are left alone."""
    master = LatentHarness(None).master.name
    for name in (master, "another"):
        tags = [{"Key": "tenfold-worker", "Value": "w"}, {"Key": "tenfold-master", "Value": name}]
        cloud.create_instances(
            ImageId=images(cloud)["ours-9"], MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )  # fmt: skip
    farm = place(cloud, missing_timeout=60)
    await farm.start()
    await reached(farm, "STARTING")
    await reached(farm, "ASLEEP")
    assert sorted(instance.state["Name"] for instance in cloud.instances.all()) == ["running", "terminated"]
    await farm.stop()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"ami": None}, "give either ami, or valid_ami_owners or valid_ami_location_regex or both"),
        ({"valid_ami_owners": ["1"]}, "give either ami, or valid_ami_owners"),
        ({"identifier": "i"}, "identifier and secret_identifier belong together"),
        ({"subnet_id": "s", "security_name": "n"}, "with subnet_id security groups are given by security_group_ids"),
        ({"spot_instance": True, "max_spot_price": None, "price_multiplier": None}, "a spot instance needs"),
        ({"volumes": ["v"]}, "volumes must be a list of pairs (volume id, device)"),
        ({"instance_type": 3}, "instance_type must be a text that is not empty"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name the worker."""
    with pytest.raises(ConfigErrors) as caught:
        EC2LatentWorker("w", "p", **{"instance_type": "m", "ami": "a", **arguments})
    assert f"EC2LatentWorker 'w': {complaint}" in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the configuration has an error, which names the package to install."""
    monkeypatch.setattr(kind, "find_spec", lambda name: None)
    with pytest.raises(ConfigErrors, match=r"needs the package boto3.*tenfold\[ec2\]"):
        EC2LatentWorker("w", "p", "m", ami="a")
