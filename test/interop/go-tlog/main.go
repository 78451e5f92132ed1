// Judges a log of Chancery with golang.org/x/mod/sumdb, which shares no code with it: the note, every tile, every
// entry, and proofs that Chancery made. Arguments: the folder, the verifier key, a file with proofs.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type proofs struct {
	Inclusion []struct {
		Index  int64
		Hashes []tlog.Hash
	}
	Consistency []struct {
		Size   int64
		Root   tlog.Hash
		Hashes []tlog.Hash
	}
}

type tiles struct{ dir string }

func (t tiles) Height() int                      { return height }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		// C2SP tlog-tiles has no height in its paths.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func check(err error) { must(0, err) }

func entries(dir string, size int64) [][]byte {
	var all [][]byte
	for from := int64(0); from < size; from += 256 {
		width := int(min(256, size-from))
		tile := tlog.Tile{H: height, L: -1, N: from / 256, W: width}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data := must(os.ReadFile(filepath.Join(dir, path)))
		for len(data) > 0 {
			n := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+n])
			data = data[2+n:]
		}
	}
	return all
}

func main() {
	dir, key, proofFile := os.Args[1], os.Args[2], os.Args[3]
	verifier := must(note.NewVerifier(key))
	opened := must(note.Open(must(os.ReadFile(filepath.Join(dir, "checkpoint"))), note.VerifierList(verifier)))
	lines := strings.Split(opened.Text, "\n")
	tree := tlog.Tree{N: must(strconv.ParseInt(lines[1], 10, 64))}
	copy(tree.Hash[:], must(base64.StdEncoding.DecodeString(lines[2])))

	// Every tile is verified against the root of the checkpoint when it is read.
	reader := tlog.TileHashReader(tree, tiles{dir})
	all := entries(dir, tree.N)
	if int64(len(all)) != tree.N {
		check(fmt.Errorf("%d entries, the checkpoint has %d", len(all), tree.N))
	}
	var leaves []int64
	for index := range all {
		leaves = append(leaves, tlog.StoredHashIndex(0, int64(index)))
	}
	for index, found := range must(reader.ReadHashes(leaves)) {
		if found != tlog.RecordHash(all[index]) {
			check(fmt.Errorf("entry %d is not the one of the tree", index))
		}
	}

	var given proofs
	check(json.Unmarshal(must(os.ReadFile(proofFile)), &given))
	for _, each := range given.Inclusion {
		check(tlog.CheckRecord(each.Hashes, tree.N, tree.Hash, each.Index, tlog.RecordHash(all[each.Index])))
		own := must(tlog.ProveRecord(tree.N, each.Index, reader))
		if len(own)+len(each.Hashes) > 0 && !reflect.DeepEqual([]tlog.Hash(own), each.Hashes) {
			check(fmt.Errorf("another proof of entry %d", each.Index))
		}
	}
	for _, each := range given.Consistency {
		check(tlog.CheckTree(each.Hashes, tree.N, tree.Hash, each.Size, each.Root))
	}
	fmt.Printf("%s %d entries, %d and %d proofs\n", lines[0], tree.N, len(given.Inclusion), len(given.Consistency))
}
