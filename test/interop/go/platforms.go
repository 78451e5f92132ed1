package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

func evidenceOf(platform string) (evidence, error) {
	kind, _, _ := strings.Cut(platform, "/")
	switch kind {
	case "unix":
		return evidence{answer: func(_, _ []byte) ([]byte, error) { return nil, errors.New("unix was asked") }}, nil
	case "kubernetes":
		return evidence{answer: kubernetesAnswer}, nil
	case "tpm":
		return tpmEvidence(*device)
	}
	return evidence{}, fmt.Errorf("%s is not a platform of this program", platform)
}

// kubernetesAnswer is the projected token, or one for the bound audience by TokenRequest.
func kubernetesAnswer(_, binding []byte) ([]byte, error) {
	own, err := os.ReadFile(*token)
	if err != nil || *tokenURL == "" {
		return bytes.TrimSpace(own), err
	}
	ca, err := os.ReadFile(*tokenCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	name, uid, _ := strings.Cut(*pod, "/")
	request := fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[%q],
		"expirationSeconds":600,"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":%q,"uid":%q}}}`,
		audienceOf(binding), name, uid)
	post, err := http.NewRequest("POST", *tokenURL, strings.NewReader(request))
	if err != nil {
		return nil, err
	}
	post.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(own)))
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("Accept", "application/json")
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	reply, err := client.Do(post)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	var answer struct{ Status struct{ Token string } }
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil || reply.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("the API server answered %s: %v", reply.Status, err)
	}
	return []byte(answer.Status.Token), nil
}

// pack: "Packed fields".
func pack(fields ...[]byte) []byte {
	packed := []byte{1}
	for _, field := range fields {
		packed = append(packed, lp(field)...)
	}
	return packed
}

func unpack(packed []byte, count int) ([][]byte, error) {
	fields, rest := make([][]byte, count), packed[min(1, len(packed)):]
	for i := range fields {
		if len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.BigEndian.Uint32(rest)) {
			return nil, errors.New("the question ends early")
		}
		size := binary.BigEndian.Uint32(rest)
		fields[i], rest = rest[4:4+size], rest[4+size:]
	}
	if len(rest) != 0 || packed[0] != 1 {
		return nil, errors.New("the question has another form")
	}
	return fields, nil
}

// The templates of "Keys".
const (
	akTemplate = "0023000b00050072" + "0000" + "0010" + "0018000b" + "0003" + "0010" + "00000000"
	ekTemplate = "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa" +
		"000600800043" + "0010" + "0800" + "00000000" + "0100"
)

var emptyPassword = tpm2.PasswordAuth(nil)

func tpmEvidence(path string) (evidence, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return evidence{}, err
	}
	tpm := transport.FromReadWriter(conn)
	certificate, err := readNV(tpm, 0x01c00002)
	if err != nil {
		return evidence{}, err
	}
	zeros := strings.Repeat("00", 256)
	ek, err := createPrimary(tpm, ekTemplate+zeros)
	if err != nil {
		return evidence{}, err
	}
	ak, err := createPrimary(tpm, akTemplate)
	if err != nil {
		return evidence{}, err
	}
	opening := pack(certificate, ek.OutPublic.Bytes(), ak.OutPublic.Bytes(), nil, nil, nil)
	answer := func(question, binding []byte) ([]byte, error) { return tpmAnswer(tpm, ek, ak, question, binding) }
	return evidence{opening, answer}, nil
}

func tpmAnswer(tpm transport.TPM, ek, ak *tpm2.CreatePrimaryResponse, question, binding []byte) ([]byte, error) {
	asked, err := unpack(question, 3)
	if err != nil {
		return nil, err
	}
	policy := func(tpm transport.TPM, session tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		secret := tpm2.PolicySecret{
			AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: emptyPassword},
			PolicySession: session,
		}
		_, err := secret.Execute(tpm)
		return err
	}
	activated, err := tpm2.ActivateCredential{
		ActivateHandle: tpm2.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: emptyPassword},
		KeyHandle: tpm2.AuthHandle{
			Handle: ek.ObjectHandle, Name: ek.Name, Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, policy),
		},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: asked[0]},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: asked[1]},
	}.Execute(tpm)
	if err != nil {
		return nil, err
	}
	proof := hmac.New(sha256.New, activated.CertInfo.Buffer)
	proof.Write(binding)
	selection, err := tpm2.Unmarshal[tpm2.TPMLPCRSelection](asked[2])
	if err != nil {
		return nil, err
	}
	quoted, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: emptyPassword},
		QualifyingData: tpm2.TPM2BData{Buffer: binding},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      *selection,
	}.Execute(tpm)
	if err != nil {
		return nil, err
	}
	values, err := readPCRs(tpm, *selection)
	if err != nil {
		return nil, err
	}
	return pack(proof.Sum(nil), quoted.Quoted.Bytes(), tpm2.Marshal(quoted.Signature), values, nil, nil), nil
}

// readPCRs asks for the rest until all were read.
func readPCRs(tpm transport.TPM, left tpm2.TPMLPCRSelection) (values []byte, err error) {
	bits := left.PCRSelections[0].PCRSelect
	for !bytes.Equal(bits, make([]byte, len(bits))) {
		read, err := tpm2.PCRRead{PCRSelectionIn: left}.Execute(tpm)
		if err != nil {
			return nil, err
		}
		if len(read.PCRValues.Digests) == 0 {
			return nil, errors.New("the TPM has no such PCR bank")
		}
		for _, digest := range read.PCRValues.Digests {
			values = append(values, digest.Buffer...)
		}
		for i, done := range read.PCRSelectionOut.PCRSelections[0].PCRSelect {
			bits[i] &^= done
		}
	}
	return values, nil
}

func createPrimary(tpm transport.TPM, template string) (*tpm2.CreatePrimaryResponse, error) {
	area, err := hex.DecodeString(template)
	if err != nil {
		return nil, err
	}
	return tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: emptyPassword},
		InPublic:      tpm2.BytesAs2B[tpm2.TPMTPublic](area),
	}.Execute(tpm)
}

// readNV gives the DER certificate at an index, cut to its own length.
func readNV(tpm transport.TPM, index tpm2.TPMHandle) ([]byte, error) {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tpm)
	if err != nil {
		return nil, err
	}
	area, err := public.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	var data []byte
	for at := uint16(0); at < area.DataSize; at += 512 {
		read, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: emptyPassword},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       min(512, area.DataSize-at),
			Offset:     at,
		}.Execute(tpm)
		if err != nil {
			return nil, err
		}
		data = append(data, read.Data.Buffer...)
	}
	if len(data) < 4 || data[0] != 0x30 || data[1] != 0x82 {
		return nil, errors.New("the EK certificate is not DER")
	}
	return data[:min(len(data), 4+int(binary.BigEndian.Uint16(data[2:])))], nil
}
