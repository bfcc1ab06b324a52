"""The packaged catalogue: every host that registries are known by, and what the loader refuses."""

from __future__ import annotations

from importlib import resources

import pytest
import yaml

from towline.catalogue import load_catalogue, parse_catalogue
from towline.config import values
from towline.core.classify import Catalogue
from towline.types import Role, Target

HOSTS = """
dockerhub   api   registry-1.docker.io
dockerhub   auth  auth.docker.io
dockerhub   auth  login.docker.com
dockerhub   auth  auth.docker.com
dockerhub   api   index.docker.io
dockerhub   api   hub.docker.com
dockerhub   api   api.docker.com
dockerhub   blob  production.cloudflare.docker.com
dockerhub   blob  production.cloudfront.docker.com
dockerhub   blob  docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com
dockerhub   blob  docker-images-prod.s3.us-east-1.amazonaws.com
dockerhub   blob  docker-images-prod-2.s3.us-east-1.amazonaws.com
dockerhub   blob  docker-images-prod.s3.dualstack.us-east-1.amazonaws.com
dockerhub   blob  dseasb33srnrn.cloudfront.net
dockerhub   api   dhi.io
dockerhub   api   registry.scout.docker.com
ghcr        api   ghcr.io
ghcr        blob  pkg-containers.githubusercontent.com
quay        api   quay.io
quay        blob  cdn.quay.io
quay        blob  cdn01.quay.io
quay        blob  cdn06.quay.io
quay        blob  quayio-production-s3.s3.amazonaws.com
redhat      api   registry.redhat.io
redhat      api   registry.access.redhat.com
redhat      api   registry.connect.redhat.com
redhat      auth  sso.redhat.com
redhat      api   access.redhat.com
gcr         api   gcr.io
gcr         api   eu.gcr.io
gcr         api   europe-west1-docker.pkg.dev
k8s         api   registry.k8s.io
gcr         api   us-east4-docker.pkg.dev
k8s         blob  prod-registry-k8s-io-us-east-1.s3.dualstack.us-east-1.amazonaws.com
k8s         blob  767373bbdcb8270361b96548387bf2a9ad0d48758c35-eu-west-2.s3.dualstack.eu-west-2.amazonaws.com
mcr         api   mcr.microsoft.com
mcr         blob  eastus.data.mcr.microsoft.com
acr         api   myregistry.azurecr.io
acr         api   myregistry.westeurope.geo.azurecr.io
acr         blob  myregistry.westeurope.data.azurecr.io
ecr         api   123456789012.dkr.ecr.eu-central-1.amazonaws.com
ecr         api   123456789012.dkr.ecr-fips.us-east-1.amazonaws.com
ecr         api   123456789012.dkr-ecr.eu-central-1.on.aws
ecr         api   123456789012.dkr-ecr-fips.us-east-1.on.aws
ecr         auth  api.ecr.eu-central-1.amazonaws.com
ecr         blob  prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com
ecr-public  api   public.ecr.aws
ecr-public  blob  d2glxqk2uabbnd.cloudfront.net
ecr-public  blob  d5l0dvt14r5h8.cloudfront.net
nvcr        api   nvcr.io
nvcr        auth  authn.nvidia.com
nvcr        api   api.ngc.nvidia.com
nvcr        blob  layers.nvcr.io
gitlab      api   registry.gitlab.com
gitlab      auth  gitlab.com
gitlab      blob  cdn.registry.gitlab-static.net
elastic     api   docker.elastic.co
elastic     auth  docker-auth.elastic.co
elastic     blob  docker-registry-production.d24a988e385e0074d717b6bdaea58f0d.r2.cloudflarestorage.com
chainguard  api   cgr.dev
chainguard  auth  issuer.enforce.dev
chainguard  auth  console-api.enforce.dev
chainguard  blob  9236a389bd48b984df91adc1bc924620.r2.cloudflarestorage.com
oracle      api   container-registry.oracle.com
objectstore blob  objectstorage.eu-frankfurt-1.oraclecloud.com
suse        api   registry.suse.com
jfrog       api   acme.jfrog.io
jfrog       blob  jfrog-prod-use1-shared-virginia-main.s3.amazonaws.com
objectstore blob  0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com
objectstore blob  bucket.s3.amazonaws.com
objectstore blob  bucket.s3-us-west-2.amazonaws.com
objectstore blob  bucket.s3.eu-west-1.amazonaws.com
objectstore blob  bucket.with.dots.s3.eu-west-1.amazonaws.com
objectstore blob  bucket.s3.dualstack.eu-west-1.amazonaws.com
objectstore blob  s3.eu-west-1.amazonaws.com
objectstore blob  s3.amazonaws.com
objectstore blob  d111111abcdef8.cloudfront.net
objectstore blob  storage.googleapis.com
objectstore blob  account.blob.core.windows.net
aliyun      api   registry.cn-hangzhou.aliyuncs.com
aliyun      api   registry-vpc.cn-hangzhou.aliyuncs.com
aliyun      api   registry.aliyuncs.com
aliyun      api   acme-registry.cn-shanghai.cr.aliyuncs.com
aliyun      api   crpi-0abc1def2.cn-hangzhou.personal.cr.aliyuncs.com
aliyun      auth  dockerauth.cn-hangzhou.aliyuncs.com
aliyun      auth  dockerauth-vpc.cn-hangzhou.aliyuncs.com
aliyun      blob  aliregistry.oss-cn-hangzhou.aliyuncs.com
aliyun      blob  registry-mirror-cache-cn.oss-cn-beijing.aliyuncs.com
tencent     api   ccr.ccs.tencentyun.com
tencent     api   hkccr.ccs.tencentyun.com
tencent     api   acme.tencentcloudcr.com
tencent     api   mirror.ccs.tencentyun.com
tencent     blob  ccr-1253687700.cn-south.myqcloud.com
huawei      api   swr.cn-north-4.myhuaweicloud.com
huawei      blob  obs.cn-south-1.myhuaweicloud.com
huawei      blob  bucket.obs.cn-north-4.myhuaweicloud.com
volcengine  api   enterprise-public-cn-beijing.cr.volces.com
volcengine  blob  bucket.tos-cn-beijing.volces.com
azure-china api   myregistry.azurecr.cn
azure-china blob  myregistry.chinanorth3.data.azurecr.cn
azure-china blob  account.blob.core.chinacloudapi.cn
aws-china   api   123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn
aws-china   blob  prod-cn-north-1-starport-layer-bucket.s3.cn-north-1.amazonaws.com.cn
public-mirrors api m.daocloud.io
public-mirrors api docker.m.daocloud.io
public-mirrors auth auth.m.daocloud.io
public-mirrors api docker.1ms.run
unlisted    unknown example.com
unlisted    unknown docker.io.example.com
unlisted    unknown ec2.eu-west-1.amazonaws.com
"""
ROWS = [tuple(line.split()) for line in HOSTS.strip().splitlines()]
MAINLAND = {"aliyun", "tencent", "huawei", "volcengine", "azure-china", "aws-china", "public-mirrors"}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The built-in catalogue, loaded once."""
    return load_catalogue()


@pytest.mark.parametrize(("registry", "role", "host"), ROWS, ids=[row[2] for row in ROWS])
def test_every_known_host(catalogue: Catalogue, registry: str, role: str, host: str) -> None:
    """Every host in the list of registry hosts (clients.md C) has its registry and role."""
    found = catalogue.classify(Target.parse(host, 443))
    assert (found.registry, found.role) == (registry, Role(role)), found.reason


def test_every_rule_is_met(catalogue: Catalogue) -> None:
    """No pattern of the file is dead: each is the answer for some host of the list."""
    met = {catalogue.classify(Target(host, 443)).rule for _, _, host in ROWS}
    written = {pattern for spec in catalogue.registries.values() for _, pattern in spec.roles()}
    assert written - met == set()


def test_direct_first(catalogue: Catalogue) -> None:
    """The registries of mainland China, and no others, start with the route `direct`."""
    assert {name for name, spec in catalogue.registries.items() if spec.direct_first} == MAINLAND


def test_probes(catalogue: Catalogue) -> None:
    """What probes read from is an image, at one host that is named whole."""
    probed = [spec for spec in catalogue.registries.values() if spec.probe is not None]
    assert len(probed) > 5
    for spec in probed:
        assert values.image(spec.probe or "") == spec.probe
        assert spec.image_at(spec.api[0]) == spec.probe
        assert "*" not in spec.api[0]


def test_no_registry_is_written_twice() -> None:
    """YAML keeps the last of two equal keys in silence, so that a registry written twice would lose hosts."""
    document = yaml.compose(resources.files("towline").joinpath("registries.yaml").read_text(encoding="utf-8"))
    assert isinstance(document, yaml.MappingNode)
    names = [key.value for key, _ in document.value]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "valid dict"),
        ("", "valid dict"),
        ("a: {apis: [a.example]}", "apis"),
        ("a: {api: a.example}", "valid list"),
        ("a: {api: [443]}", "valid string"),
        ("a: {direct_first: 1}", "valid boolean"),
        ("A b: {api: [a.example]}", "pattern"),
        ("a: {api: [a.example]}\nb: {blob: [a.example]}", "registry b: a.example belongs to a already"),
        ("a: {api: ['a b']}", "registry a: 'a b' is not a host pattern"),
    ],
)
def test_a_damaged_file(text: str, fault: str) -> None:
    """A file that does not fit is refused as a whole, with the place."""
    with pytest.raises(ValueError, match=fault):
        parse_catalogue(text)
