// Verifies a chain of PEM by a file of roots, as a server or client in Go does, for both purposes.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"log"
	"os"
)

func main() {
	roots, pool := certificates(os.Args[1]), x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	chain, between := certificates(os.Args[2]), x509.NewCertPool()
	for _, each := range chain[1:] {
		between.AddCert(each)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options := x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := chain[0].Verify(options); err != nil {
			log.Fatal(err)
		}
	}
}

func certificates(path string) []*x509.Certificate {
	bytes, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var found []*x509.Certificate
	for block, rest := pem.Decode(bytes); block != nil; block, rest = pem.Decode(rest) {
		each, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			log.Fatal(err)
		}
		found = append(found, each)
	}
	return found
}
