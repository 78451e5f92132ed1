// The official client in Go: what it gets from an MCP server at a URL, or that a command starts.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type said struct {
	Text    string          `json:"text,omitempty"`
	Code    int64           `json:"code,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func main() {
	ctx := context.Background()
	how, command, args := os.Args[1], os.Args[2], os.Args[3:]
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: command}
	if how != "url" {
		transport = &mcp.CommandTransport{Command: exec.Command(command, args...)}
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "go", Version: "1"}, nil)
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	listed, err := session.ListTools(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	names := []string{}
	for _, tool := range listed.Tools {
		names = append(names, tool.Name)
	}
	all := []said{}
	for _, message := range []string{"hello", "forbidden", "again"} {
		all = append(all, echo(ctx, session, message))
	}
	text, _ := json.Marshal(map[string]any{"tools": names, "said": all})
	fmt.Println(string(text))
}

func echo(ctx context.Context, session *mcp.ClientSession, message string) said {
	result, err := session.CallTool(ctx, &mcp.CallToolParams{
		Name:      "echo",
		Arguments: map[string]any{"message": message},
	})
	var refused *jsonrpc.Error
	if errors.As(err, &refused) {
		return said{Code: refused.Code, Message: refused.Message, Data: refused.Data}
	}
	if err != nil {
		log.Fatal(err)
	}
	return said{Text: result.Content[0].(*mcp.TextContent).Text}
}
