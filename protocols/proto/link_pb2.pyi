from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("protocol", "software", "clock_utc_ms", "cooperative")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_UTC_MS_FIELD_NUMBER: _ClassVar[int]
    COOPERATIVE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    software: str
    clock_utc_ms: int
    cooperative: Cooperative
    def __init__(self, protocol: _Optional[int] = ..., software: _Optional[str] = ..., clock_utc_ms: _Optional[int] = ..., cooperative: _Optional[_Union[Cooperative, _Mapping]] = ...) -> None: ...

class Cooperative(_message.Message):
    __slots__ = ("coop", "name", "profile", "ca_der", "operator_key", "coordinator_key")
    COOP_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    CA_DER_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_KEY_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_KEY_FIELD_NUMBER: _ClassVar[int]
    coop: str
    name: str
    profile: str
    ca_der: bytes
    operator_key: bytes
    coordinator_key: bytes
    def __init__(self, coop: _Optional[str] = ..., name: _Optional[str] = ..., profile: _Optional[str] = ..., ca_der: _Optional[bytes] = ..., operator_key: _Optional[bytes] = ..., coordinator_key: _Optional[bytes] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("token", "csr_pem", "identity_key", "proof", "profile", "encryption_key")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CSR_PEM_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_KEY_FIELD_NUMBER: _ClassVar[int]
    token: str
    csr_pem: bytes
    identity_key: bytes
    proof: bytes
    profile: Profile
    encryption_key: bytes
    def __init__(self, token: _Optional[str] = ..., csr_pem: _Optional[bytes] = ..., identity_key: _Optional[bytes] = ..., proof: _Optional[bytes] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ..., encryption_key: _Optional[bytes] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("name", "legal_id", "trade", "region")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEGAL_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    name: str
    legal_id: str
    trade: str
    region: str
    def __init__(self, name: _Optional[str] = ..., legal_id: _Optional[str] = ..., trade: _Optional[str] = ..., region: _Optional[str] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("cooperative", "cert_pem", "link_host", "link_port")
    COOPERATIVE_FIELD_NUMBER: _ClassVar[int]
    CERT_PEM_FIELD_NUMBER: _ClassVar[int]
    LINK_HOST_FIELD_NUMBER: _ClassVar[int]
    LINK_PORT_FIELD_NUMBER: _ClassVar[int]
    cooperative: Cooperative
    cert_pem: bytes
    link_host: str
    link_port: int
    def __init__(self, cooperative: _Optional[_Union[Cooperative, _Mapping]] = ..., cert_pem: _Optional[bytes] = ..., link_host: _Optional[str] = ..., link_port: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "software", "clock_utc_ms")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_UTC_MS_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    software: str
    clock_utc_ms: int
    def __init__(self, protocol: _Optional[int] = ..., software: _Optional[str] = ..., clock_utc_ms: _Optional[int] = ...) -> None: ...

class NodeFrame(_message.Message):
    __slots__ = ("hello", "reply", "heartbeat", "error")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    reply: Part
    heartbeat: Heartbeat
    error: Problem
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., reply: _Optional[_Union[Part, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., error: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class CoordinatorFrame(_message.Message):
    __slots__ = ("hello", "task", "heartbeat", "mail", "error")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    MAIL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    task: Part
    heartbeat: Heartbeat
    mail: MailNotice
    error: Problem
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., task: _Optional[_Union[Part, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., mail: _Optional[_Union[MailNotice, _Mapping]] = ..., error: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("task_id", "seq", "last", "total_bytes", "data")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    seq: int
    last: bool
    total_bytes: int
    data: bytes
    def __init__(self, task_id: _Optional[str] = ..., seq: _Optional[int] = ..., last: _Optional[bool] = ..., total_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("clock_utc_ms",)
    CLOCK_UTC_MS_FIELD_NUMBER: _ClassVar[int]
    clock_utc_ms: int
    def __init__(self, clock_utc_ms: _Optional[int] = ...) -> None: ...

class MailNotice(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "problem", "where", "fix", "task_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    code: str
    problem: str
    where: str
    fix: str
    task_id: str
    def __init__(self, code: _Optional[str] = ..., problem: _Optional[str] = ..., where: _Optional[str] = ..., fix: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class MailRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: int
    def __init__(self, after: _Optional[int] = ...) -> None: ...

class MailItem(_message.Message):
    __slots__ = ("seq", "kind", "id", "size", "sha256", "part", "last", "data")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    seq: int
    kind: str
    id: str
    size: int
    sha256: bytes
    part: int
    last: bool
    data: bytes
    def __init__(self, seq: _Optional[int] = ..., kind: _Optional[str] = ..., id: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[bytes] = ..., part: _Optional[int] = ..., last: _Optional[bool] = ..., data: _Optional[bytes] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("kind", "id", "size", "sha256", "seq", "last", "data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    size: int
    sha256: bytes
    seq: int
    last: bool
    data: bytes
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[bytes] = ..., seq: _Optional[int] = ..., last: _Optional[bool] = ..., data: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("id", "sha256", "known_before")
    ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    KNOWN_BEFORE_FIELD_NUMBER: _ClassVar[int]
    id: str
    sha256: bytes
    known_before: bool
    def __init__(self, id: _Optional[str] = ..., sha256: _Optional[bytes] = ..., known_before: _Optional[bool] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("kind", "run", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    run: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., run: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("csr_pem",)
    CSR_PEM_FIELD_NUMBER: _ClassVar[int]
    csr_pem: bytes
    def __init__(self, csr_pem: _Optional[bytes] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("cert_pem",)
    CERT_PEM_FIELD_NUMBER: _ClassVar[int]
    cert_pem: bytes
    def __init__(self, cert_pem: _Optional[bytes] = ...) -> None: ...
