from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("version", "run", "round", "attempt", "stage", "agreement", "sender", "body", "signature")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    version: int
    run: bytes
    round: int
    attempt: int
    stage: int
    agreement: bytes
    sender: bytes
    body: bytes
    signature: bytes
    def __init__(self, version: _Optional[int] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., stage: _Optional[int] = ..., agreement: _Optional[bytes] = ..., sender: _Optional[bytes] = ..., body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Descriptor(_message.Message):
    __slots__ = ("protocol", "coop", "run", "round", "attempt", "task", "model_hash", "order_hash", "agreement", "log_root", "task_hash", "roster_hash", "ids", "colluders", "quorum", "threshold", "degree", "min_cohort", "dim", "bits", "scale", "clip", "w_max", "sigma_local", "prev_transcript", "max_dropout", "stage_timeouts_s", "log_size", "spot_percent")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    COOP_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    ORDER_HASH_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    LOG_ROOT_FIELD_NUMBER: _ClassVar[int]
    TASK_HASH_FIELD_NUMBER: _ClassVar[int]
    ROSTER_HASH_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DEGREE_FIELD_NUMBER: _ClassVar[int]
    MIN_COHORT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    W_MAX_FIELD_NUMBER: _ClassVar[int]
    SIGMA_LOCAL_FIELD_NUMBER: _ClassVar[int]
    PREV_TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    MAX_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMEOUTS_S_FIELD_NUMBER: _ClassVar[int]
    LOG_SIZE_FIELD_NUMBER: _ClassVar[int]
    SPOT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    coop: bytes
    run: bytes
    round: int
    attempt: int
    task: str
    model_hash: bytes
    order_hash: bytes
    agreement: bytes
    log_root: bytes
    task_hash: bytes
    roster_hash: bytes
    ids: _containers.RepeatedScalarFieldContainer[bytes]
    colluders: int
    quorum: int
    threshold: int
    degree: int
    min_cohort: int
    dim: int
    bits: int
    scale: int
    clip: float
    w_max: int
    sigma_local: float
    prev_transcript: bytes
    max_dropout: int
    stage_timeouts_s: _containers.RepeatedScalarFieldContainer[int]
    log_size: int
    spot_percent: int
    def __init__(self, protocol: _Optional[str] = ..., coop: _Optional[bytes] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., task: _Optional[str] = ..., model_hash: _Optional[bytes] = ..., order_hash: _Optional[bytes] = ..., agreement: _Optional[bytes] = ..., log_root: _Optional[bytes] = ..., task_hash: _Optional[bytes] = ..., roster_hash: _Optional[bytes] = ..., ids: _Optional[_Iterable[bytes]] = ..., colluders: _Optional[int] = ..., quorum: _Optional[int] = ..., threshold: _Optional[int] = ..., degree: _Optional[int] = ..., min_cohort: _Optional[int] = ..., dim: _Optional[int] = ..., bits: _Optional[int] = ..., scale: _Optional[int] = ..., clip: _Optional[float] = ..., w_max: _Optional[int] = ..., sigma_local: _Optional[float] = ..., prev_transcript: _Optional[bytes] = ..., max_dropout: _Optional[int] = ..., stage_timeouts_s: _Optional[_Iterable[int]] = ..., log_size: _Optional[int] = ..., spot_percent: _Optional[int] = ...) -> None: ...

class AdvertiseRequest(_message.Message):
    __slots__ = ("descriptor", "signature")
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    descriptor: Descriptor
    signature: bytes
    def __init__(self, descriptor: _Optional[_Union[Descriptor, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Advertisement(_message.Message):
    __slots__ = ("member", "c_public", "s_public", "nonce", "commitment", "signature", "early")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    C_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    S_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    EARLY_FIELD_NUMBER: _ClassVar[int]
    member: bytes
    c_public: bytes
    s_public: bytes
    nonce: bytes
    commitment: bytes
    signature: bytes
    early: bool
    def __init__(self, member: _Optional[bytes] = ..., c_public: _Optional[bytes] = ..., s_public: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., commitment: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., early: _Optional[bool] = ...) -> None: ...

class ShareRequest(_message.Message):
    __slots__ = ("advertisements", "opening")
    ADVERTISEMENTS_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    advertisements: _containers.RepeatedCompositeFieldContainer[Advertisement]
    opening: AdvertiseRequest
    def __init__(self, advertisements: _Optional[_Iterable[_Union[Advertisement, _Mapping]]] = ..., opening: _Optional[_Union[AdvertiseRequest, _Mapping]] = ...) -> None: ...

class SealedShare(_message.Message):
    __slots__ = ("peer", "sealed")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    sealed: bytes
    def __init__(self, peer: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class ShareReply(_message.Message):
    __slots__ = ("shares", "signature")
    SHARES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    shares: _containers.RepeatedCompositeFieldContainer[SealedShare]
    signature: bytes
    def __init__(self, shares: _Optional[_Iterable[_Union[SealedShare, _Mapping]]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class MaskRequest(_message.Message):
    __slots__ = ("cohort", "shares")
    COHORT_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    cohort: bytes
    shares: _containers.RepeatedCompositeFieldContainer[SealedShare]
    def __init__(self, cohort: _Optional[bytes] = ..., shares: _Optional[_Iterable[_Union[SealedShare, _Mapping]]] = ...) -> None: ...

class MaskedInput(_message.Message):
    __slots__ = ("vector", "signature")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    vector: bytes
    signature: bytes
    def __init__(self, vector: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class AgreeRequest(_message.Message):
    __slots__ = ("survivors", "vectors_hash", "roots")
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_HASH_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    survivors: bytes
    vectors_hash: bytes
    roots: _containers.RepeatedCompositeFieldContainer[VectorRoot]
    def __init__(self, survivors: _Optional[bytes] = ..., vectors_hash: _Optional[bytes] = ..., roots: _Optional[_Iterable[_Union[VectorRoot, _Mapping]]] = ...) -> None: ...

class AgreeReply(_message.Message):
    __slots__ = ("signature",)
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    signature: bytes
    def __init__(self, signature: _Optional[bytes] = ...) -> None: ...

class AgreementSignature(_message.Message):
    __slots__ = ("member", "signature")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    member: bytes
    signature: bytes
    def __init__(self, member: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class UnmaskRequest(_message.Message):
    __slots__ = ("certificate", "carry")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CARRY_FIELD_NUMBER: _ClassVar[int]
    certificate: _containers.RepeatedCompositeFieldContainer[AgreementSignature]
    carry: bool
    def __init__(self, certificate: _Optional[_Iterable[_Union[AgreementSignature, _Mapping]]] = ..., carry: _Optional[bool] = ...) -> None: ...

class OpenShare(_message.Message):
    __slots__ = ("owner", "share")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    owner: bytes
    share: bytes
    def __init__(self, owner: _Optional[bytes] = ..., share: _Optional[bytes] = ...) -> None: ...

class UnmaskReply(_message.Message):
    __slots__ = ("own_shares", "seed_shares", "next_ad")
    OWN_SHARES_FIELD_NUMBER: _ClassVar[int]
    SEED_SHARES_FIELD_NUMBER: _ClassVar[int]
    NEXT_AD_FIELD_NUMBER: _ClassVar[int]
    own_shares: _containers.RepeatedCompositeFieldContainer[OpenShare]
    seed_shares: _containers.RepeatedCompositeFieldContainer[OpenShare]
    next_ad: Advertisement
    def __init__(self, own_shares: _Optional[_Iterable[_Union[OpenShare, _Mapping]]] = ..., seed_shares: _Optional[_Iterable[_Union[OpenShare, _Mapping]]] = ..., next_ad: _Optional[_Union[Advertisement, _Mapping]] = ...) -> None: ...

class PublishedSum(_message.Message):
    __slots__ = ("run", "round", "attempt", "task", "descriptor_digest", "ads_hash", "cohort", "survivor_map", "vectors_hash", "width", "total", "weight_sum", "a3", "certificate", "sum_certificate")
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ADS_HASH_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    SURVIVOR_MAP_FIELD_NUMBER: _ClassVar[int]
    VECTORS_HASH_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_SUM_FIELD_NUMBER: _ClassVar[int]
    A3_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SUM_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    round: int
    attempt: int
    task: str
    descriptor_digest: bytes
    ads_hash: bytes
    cohort: bytes
    survivor_map: bytes
    vectors_hash: bytes
    width: int
    total: bytes
    weight_sum: int
    a3: bytes
    certificate: _containers.RepeatedCompositeFieldContainer[AgreementSignature]
    sum_certificate: _containers.RepeatedCompositeFieldContainer[AgreementSignature]
    def __init__(self, run: _Optional[bytes] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., task: _Optional[str] = ..., descriptor_digest: _Optional[bytes] = ..., ads_hash: _Optional[bytes] = ..., cohort: _Optional[bytes] = ..., survivor_map: _Optional[bytes] = ..., vectors_hash: _Optional[bytes] = ..., width: _Optional[int] = ..., total: _Optional[bytes] = ..., weight_sum: _Optional[int] = ..., a3: _Optional[bytes] = ..., certificate: _Optional[_Iterable[_Union[AgreementSignature, _Mapping]]] = ..., sum_certificate: _Optional[_Iterable[_Union[AgreementSignature, _Mapping]]] = ...) -> None: ...

class VectorRoot(_message.Message):
    __slots__ = ("member", "root", "signature")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    member: bytes
    root: bytes
    signature: bytes
    def __init__(self, member: _Optional[bytes] = ..., root: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class AuditHead(_message.Message):
    __slots__ = ("opening", "published", "advertisements", "own_secrets", "seeds", "roots")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    ADVERTISEMENTS_FIELD_NUMBER: _ClassVar[int]
    OWN_SECRETS_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    opening: AdvertiseRequest
    published: PublishedSum
    advertisements: _containers.RepeatedCompositeFieldContainer[Advertisement]
    own_secrets: _containers.RepeatedScalarFieldContainer[bytes]
    seeds: _containers.RepeatedScalarFieldContainer[bytes]
    roots: _containers.RepeatedCompositeFieldContainer[VectorRoot]
    def __init__(self, opening: _Optional[_Union[AdvertiseRequest, _Mapping]] = ..., published: _Optional[_Union[PublishedSum, _Mapping]] = ..., advertisements: _Optional[_Iterable[_Union[Advertisement, _Mapping]]] = ..., own_secrets: _Optional[_Iterable[bytes]] = ..., seeds: _Optional[_Iterable[bytes]] = ..., roots: _Optional[_Iterable[_Union[VectorRoot, _Mapping]]] = ...) -> None: ...

class AuditChunk(_message.Message):
    __slots__ = ("index", "parts")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    parts: _containers.RepeatedCompositeFieldContainer[AuditPart]
    def __init__(self, index: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[AuditPart, _Mapping]]] = ...) -> None: ...

class AuditPart(_message.Message):
    __slots__ = ("data", "path")
    DATA_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, data: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ("head", "vectors", "chunks")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    head: AuditHead
    vectors: _containers.RepeatedScalarFieldContainer[bytes]
    chunks: _containers.RepeatedCompositeFieldContainer[AuditChunk]
    def __init__(self, head: _Optional[_Union[AuditHead, _Mapping]] = ..., vectors: _Optional[_Iterable[bytes]] = ..., chunks: _Optional[_Iterable[_Union[AuditChunk, _Mapping]]] = ...) -> None: ...

class AuditReply(_message.Message):
    __slots__ = ("nonce", "signature")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    signature: bytes
    def __init__(self, nonce: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...
