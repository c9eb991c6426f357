"""Why a certificate is refused: in words for a person, whatever the code."""

import ssl

import pytest

from shared.tls import client_context, why_refused


def refusal(code, message="unsuitable certificate purpose"):
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, message
    return why_refused(error, "fl.example.org")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, "has expired"),
        (9, "is this machine's clock right?"),
        (62, "not for the name fl.example.org"),
        (64, "not for the name fl.example.org"),
        (18, "not from the CA of the study"),
        (19, "not from the CA of the study"),
        (20, "not from the CA of the study"),
    ],
)
def test_the_reasons_are_told_apart(code, words):
    assert words in refusal(code)


def test_a_reason_without_words_of_ours_is_told_in_openssls():
    assert (
        refusal(26) == "the server's certificate is not accepted (unsuitable certificate purpose)"
    )


@pytest.mark.parametrize("pem", ["", "no certificate"])
def test_no_client_trusts_what_is_no_certificate(pem):
    with pytest.raises((ssl.SSLError, ValueError)):
        client_context(pem)


def test_no_client_trusts_the_systems_authorities():
    from server.joining.certificates import make_certificates
    from shared.address import parse_address

    made = make_certificates("tiny", parse_address("127.0.0.1:1"))
    context = client_context(made.authority.decode())
    assert context.cert_store_stats()["x509"] == 1
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
