"""The routes of provenance: where an image comes from, an asset's credentials, and the identity that signs."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api.image_bodies import read_asset_file, read_image_file
from studio.api.multipart_forms import MultipartRoute
from studio.api.request_bodies import ImageBody
from studio.api.rights import needs
from studio.api.schemas import StrictModel
from studio.api.submit_request import NO_STORE, get_caller
from studio.core.provenance import CredentialReport
from studio.core.rights import Right
from studio.engine.origin import check_origin, describe_credentials
from studio.engine.studio import Studio


class CredentialStepBody(BaseModel):
    """One signed version of an image."""

    signer: str
    program: str
    actions: list[str]
    when: str
    sourceType: str  # noqa: N815 - names on the wire are camelCase


class CredentialsBody(BaseModel):
    """What an image's Content Credentials say; `steps` begins with the file itself and goes back in time."""

    state: str = Field(description="none, own, trusted, untrusted, changed, expired, invalid, elsewhere or unreadable")
    text: str
    steps: list[CredentialStepBody]
    problems: list[str]
    training: str = Field(description="allow, forbid or empty")
    remote: str

    @classmethod
    def make(cls, report: CredentialReport) -> CredentialsBody:
        steps = [
            CredentialStepBody(
                signer=one.signer,
                program=one.program,
                actions=list(one.actions),
                when=one.when,
                sourceType=one.source_type,
            )
            for one in report.steps
        ]
        return cls(
            state=report.state.value,
            text=describe_credentials(report),
            steps=steps,
            problems=list(report.problems),
            training=report.training,
            remote=report.remote,
        )


class FindingBody(BaseModel):
    """One thing that tells where the image comes from."""

    layer: str = Field(description="credentials, source_type, settings, hidden_text or library")
    text: str
    assets: list[str]


class OriginBody(BaseModel):
    """Where an image comes from, as far as it tells."""

    summary: str
    findings: list[FindingBody]
    credentials: CredentialsBody


class IdentityBody(StrictModel):
    """Certificates of one's own to sign with; without any a new identity is made."""

    certificates: str = Field(default="", description="PEM, the leaf first.")
    key: str = Field(default="", description="The leaf's key, PEM without a password.")


class RootBody(BaseModel):
    """The certificate by which others recognize this installation's signatures."""

    root: str


def add_trust_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes of provenance among `routes`."""
    forms = APIRouter(route_class=MultipartRoute)

    @forms.post("/check")
    def check_image(request: Request, body: ImageBody) -> OriginBody:
        """Tell where an image file comes from: its Content Credentials, other marks, settings, a hidden text, images of
        the caller's library that look alike. No address that the file names is asked."""
        user = get_caller(request)
        report = check_origin(studio, read_image_file(body.image, studio.engine, user), user)
        findings = [
            FindingBody(layer=one.layer.value, text=one.text, assets=list(one.assets)) for one in report.findings
        ]
        return OriginBody(
            summary=report.summary, findings=findings, credentials=CredentialsBody.make(report.credentials)
        )

    @routes.get("/assets/{asset_id}/credentials")
    def get_credentials(request: Request, asset_id: str) -> CredentialsBody:
        """What the Content Credentials in an asset's file say."""
        data = read_asset_file(studio.engine, asset_id, get_caller(request))
        return CredentialsBody.make(studio.engine.read_credentials(data))

    @routes.get("/trust/root.pem", response_class=Response)
    def get_root(request: Request) -> Response:
        """The certificate by which others can recognize this installation's signatures."""
        get_caller(request)
        headers = {**NO_STORE, "Content-Disposition": 'attachment; filename="easel-root.pem"'}
        return Response(studio.engine.signing.get_root(), media_type="application/x-pem-file", headers=headers)

    @routes.post("/trust/identity", dependencies=[needs(Right.SETTINGS)])
    def replace_identity(request: Request, body: IdentityBody) -> RootBody:
        """Sign with a new identity from now on, or with one's own certificates (administrators)."""
        signing = studio.engine.signing
        signing.replace_identity(body.certificates.encode(), body.key.encode())
        return RootBody(root=signing.get_root().decode())

    routes.include_router(forms)
