"""A plugin of pytest for the suite: its clients of IAM and STS name an empty region, which RGW takes and no signature of AWS has;
and the report says of each test whether the suite marks it as failing on AWS."""
import boto3

make = boto3.client


def client(*arguments, **parameters):
    if parameters.get("region_name") == "":
        parameters["region_name"] = "us-east-1"
    return make(*arguments, **parameters)


boto3.client = client


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("fails_on_aws"):
            item.user_properties.append(("fails_on_aws", "yes"))
