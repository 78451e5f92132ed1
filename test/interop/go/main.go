// Joins a CA by unix, kubernetes or tpm, as docs/wire.md and the protos say, and prints what was issued.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	pb "chancery.example/join/gen/chancery/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// evidence is one platform: what it says first, and its answer to the CA's question.
type evidence struct {
	opening []byte
	answer  func(question, binding []byte) ([]byte, error)
}

var (
	platform    = flag.String("platform", "unix", "unix, kubernetes/NAME or tpm")
	address     = flag.String("ca", "", "host:port, or unix:PATH of join.sock")
	bundle      = flag.String("bundle", "", "PEM file with the authorities")
	trustDomain = flag.String("trust-domain", "", "the trust domain")
	token       = flag.String("token", "", "kubernetes: file with a projected token")
	tokenURL    = flag.String("token-url", "", "kubernetes: where a bound token is asked for, with the one in -token")
	tokenCA     = flag.String("token-ca", "", "kubernetes: PEM file with the CA of that URL")
	pod         = flag.String("pod", "", "kubernetes: the pod as NAME/UID, for a bound token")
	device      = flag.String("tpm", "", "tpm: unix socket of a software TPM")
)

func main() {
	flag.Parse()
	if err := join(); err != nil {
		log.Fatal(err)
	}
}

func join() error {
	pem, err := os.ReadFile(*bundle)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("the bundle holds no certificate")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	mine, err := evidenceOf(*platform)
	if err != nil {
		return err
	}
	transport := insecure.NewCredentials()
	if !strings.HasPrefix(*address, "unix:") {
		transport = credentials.NewTLS(tlsConfig(roots))
	}
	issued, err := exchange(transport, csr, spki, mine)
	if err != nil {
		return err
	}
	leaf, err := verify(issued.Chain, roots)
	if err != nil {
		return err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) || leaf.URIs[0].String() != issued.SpiffeId {
		return errors.New("the certificate is for another key or name")
	}
	fmt.Println(issued.SpiffeId, leaf.SerialNumber.Text(16), time.Unix(issued.RenewAfter, 0).Before(leaf.NotAfter))
	return nil
}

// exchange is hello, challenge, evidence, issued: "The exchange".
func exchange(transport credentials.TransportCredentials, csr, spki []byte, mine evidence) (*pb.Issued, error) {
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(transport))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := conn.NewStream(ctx, desc, "/chancery.v1.Attestation/Attest")
	if err != nil {
		return nil, err
	}
	instance := make([]byte, 16)
	rand.Read(instance)
	hello := &pb.Hello{Platform: *platform, Csr: csr, Evidence: mine.opening, Instance: instance}
	if err := stream.SendMsg(&pb.AttestRequest{Message: &pb.AttestRequest_Hello{Hello: hello}}); err != nil {
		return nil, err
	}
	for {
		var reply pb.AttestResponse
		if err := stream.RecvMsg(&reply); err != nil {
			return nil, err
		}
		if issued := reply.GetIssued(); issued != nil {
			return issued, nil
		}
		nonce := reply.GetChallenge().GetNonce()
		answer, err := mine.answer(reply.GetChallenge().GetQuestion(), bindingOf(nonce, spki))
		if err != nil {
			return nil, err
		}
		said := &pb.Evidence{Nonce: nonce, Evidence: answer}
		if err := stream.SendMsg(&pb.AttestRequest{Message: &pb.AttestRequest_Evidence{Evidence: said}}); err != nil {
			return nil, err
		}
	}
}

func lp(field []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(field))), field...)
}

// bindingOf: "The binding".
func bindingOf(nonce, spki []byte) []byte {
	key := sha256.Sum256(spki)
	all := [][]byte{[]byte("chancery-attest-v1"), lp([]byte(*trustDomain)), lp(nonce), lp(key[:])}
	binding := sha256.Sum256(bytes.Join(all, nil))
	return binding[:]
}

func audienceOf(binding []byte) string {
	return "chancery://" + *trustDomain + "/" + base64.RawURLEncoding.EncodeToString(binding)
}

// tlsConfig: "How to verify the CA".
func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// No DNS name is compared, so the verdict is ours.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			leaf, err := verify(chain, roots)
			if err != nil {
				return err
			}
			id := "spiffe://" + *trustDomain + "/chancery/ca"
			name, isReplica := strings.CutPrefix(leaf.URIs[0].String(), id+"/")
			if leaf.URIs[0].String() != id && (!isReplica || name == "" || strings.Contains(name, "/")) {
				return fmt.Errorf("the CA's address is answered by %s", leaf.URIs[0])
			}
			mark := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 27}
			if !slices.ContainsFunc(leaf.UnknownExtKeyUsage, mark.Equal) {
				return errors.New("the certificate has no mark of a CA")
			}
			return nil
		},
	}
}

// verify gives the leaf of a chain that ends at the roots, with one URI name of the trust domain.
func verify(chain [][]byte, roots *x509.CertPool) (*x509.Certificate, error) {
	certificates, err := x509.ParseCertificates(bytes.Join(chain, nil))
	if err != nil || len(certificates) == 0 {
		return nil, fmt.Errorf("the chain cannot be read: %w", err)
	}
	leaf, between := certificates[0], x509.NewCertPool()
	for _, each := range certificates[1:] {
		between.AddCert(each)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := leaf.Verify(options); err != nil {
			return nil, err
		}
	}
	signs := leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature
	if signs || len(leaf.URIs) != 1 || leaf.URIs[0].Host != *trustDomain {
		return nil, errors.New("the leaf is no X.509-SVID of the trust domain")
	}
	return leaf, nil
}
