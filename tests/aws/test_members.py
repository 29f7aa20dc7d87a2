"""Which members of a function's configuration are taken, kept for show, or refused."""

import pytest

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.members import MEMBERS, check_members, kept_members
from isotherm.aws.service_model import ServiceModel

model = ServiceModel("lambda")


def test_every_member_of_a_functions_configuration_is_in_the_table() -> None:
    asked = {
        name
        for operation in ("CreateFunction", "UpdateFunctionConfiguration")
        for name in model.operation(operation).input_shape.members
    }
    assert asked == set(MEMBERS)


@pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if member.state == "no"])
def test_a_member_that_asks_for_what_is_not_there_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(AwsError) as error:
        check_members({name: {"SubnetIds": ["subnet-1"]}})
    assert error.value.code == "InvalidParameterValueException"
    assert error.value.message.startswith(f"{name} is not supported by this platform: ")


def test_what_asks_for_nothing_is_taken() -> None:
    check_members({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "KMSKeyArn": "", "FileSystemConfigs": []})
    check_members({"PackageType": "Zip"})
    with pytest.raises(AwsError):
        check_members({"PackageType": "Image"})


def test_what_is_only_shown_is_kept() -> None:
    given = {"Role": "r", "TracingConfig": {"Mode": "Active"}, "Timeout": 3}
    assert kept_members(given) == {"Role": "r", "TracingConfig": {"Mode": "Active"}}
