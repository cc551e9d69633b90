"""The one way in which the service says that a request failed: a status code and the error document."""

from starlette.responses import JSONResponse

from verifiers.service_wire import ErrorBody, ErrorDocument

RETRYABLE = (408, 429, 502, 503, 504)  # the same request may succeed later


class ServiceError(Exception):
    """A request that is refused. The message says what was wrong and what to do."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    def response(self) -> JSONResponse:
        """The answer to send."""
        body = ErrorBody(code=self.code, message=self.message, is_retryable=self.status in RETRYABLE)
        return JSONResponse(ErrorDocument(error=body).model_dump(), status_code=self.status, headers=self.headers)


def too_large(max_body_bytes: int) -> ServiceError:
    """The refusal of a body over the limit."""
    return ServiceError(413, "too_large", f"a request's body may have {max_body_bytes} bytes; send smaller batches")


def overloaded(retry_after_s: int, message: str) -> ServiceError:
    """The refusal of a batch for which there is no room now. `retry_after_s` in whole seconds."""
    return ServiceError(429, "overloaded", message, headers={"Retry-After": str(retry_after_s)})
