"""What can go wrong with a cluster, told apart by what the caller should do about it."""


class ClusterError(Exception):
    """Something went wrong with a cluster; a retry may help."""


class CapacityError(ClusterError):
    """EC2 has no machine of this kind just now: wait and retry, or ask for another type.

    `code` is EC2's own, where one answer is meant.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RefusedError(ClusterError):
    """EC2 will refuse this request however often it is made (permission, quota, image): mend it first."""


class NoClusterError(ClusterError):
    """There is no running cluster of that name: launch it first."""


class HostKeyError(ClusterError):
    """A host presented another key than the one that was given to it: never connect, never retry."""


class BootstrapError(ClusterError):
    """A node could not be prepared; the message ends with the node's own words."""


class JobError(ClusterError):
    """A job on the cluster ended without success."""


class JobLostError(JobError):
    """A job's process is gone and left no exit code."""


class LeakError(ClusterError):
    """Something of a destroyed cluster is still there and may cost money."""


# Codes of the EC2 API reference, "Error codes for the Amazon EC2 API".
_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "SpotMaxPriceTooLow",
        "MaxSpotInstanceCountExceeded",
        "InsufficientFreeAddressesInSubnet",
    }
)
_REFUSED = frozenset(
    {
        "AuthFailure",
        "UnauthorizedOperation",
        "OptInRequired",
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "InvalidAMIID.NotFound",
        "InvalidAMIID.Malformed",
        "InvalidAMIID.Unavailable",
        "InvalidSubnetID.NotFound",
        "InvalidKeyPair.NotFound",
        "InvalidIamInstanceProfileArn.Malformed",
        "InvalidUserData.Malformed",
        "PendingVerification",
        "InvalidParameterValue",
        "InvalidInstanceType",
        "Unsupported",
    }
)
_REMEDY = {
    "UnauthorizedOperation": "give the launcher's role this permission",
    "AuthFailure": "check the AWS credentials and the region",
    "VcpuLimitExceeded": "ask for a higher vCPU quota, or launch fewer or smaller machines",
    "InvalidAMIID.NotFound": "check --ami: images belong to one region",
    "InvalidKeyPair.NotFound": "check the key pair's name: key pairs belong to one region",
    "InsufficientInstanceCapacity": "retry later, or choose another instance type or subnet",
}


def from_ec2(code: str, message: str, *, doing: str) -> ClusterError:
    """The error of the kind that an EC2 error code means, with its remedy where we know one.

    `doing` completes "could not …" in the message.
    """
    remedy = _REMEDY.get(code)
    text = f"could not {doing}: EC2 answered {code}: {message}" + (f" ({remedy})" if remedy else "")
    if code in _CAPACITY or _lacking_in_zone(code, message):
        return CapacityError(text, code=code)
    if code in _REFUSED:
        return RefusedError(text)
    return ClusterError(text)


def _lacking_in_zone(code: str, message: str) -> bool:
    """Whether EC2 refuses a type in one zone only: not every zone has every type, and another one may."""
    return code == "Unsupported" and "Availability Zone" in message
