// A registry client that pulls one image and keeps nothing of it, with nothing but Go's standard library. It follows the
// present rule of containers/image, the library of podman, skopeo, buildah and CRI-O, which Debian's versions predate:
//
//   - a blob's body that ends in ErrUnexpectedEOF or ECONNRESET is resumed after 1.0 to 1.1 s, with Range,
//   - where 1 MiB came since the last time, or it is the first time, or the last time was 60 s ago,
//   - and only a 206 that begins at exactly that offset will do; if the new request fails, so does the pull.
//
// Nothing else is tried twice. At most six blobs are read at once, over HTTP/1.1 (Go turns HTTP/2 off where a
// DialContext is set). What it did is printed as one JSON object; it exits with 1 where the pull failed.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	parallel     = 6                     // blobs read at once (containers/image copy: maxParallelDownloads)
	minProgress  = 1 << 20               // bytes since the last reconnect (body_reader.go: bodyReaderMinimumProgress)
	longAgo      = 60 * time.Second      // since the last reconnect (bodyReaderMSSinceLastRetry)
	pause        = time.Second           // before a reconnect, and up to
	jitter       = 100_000               // microseconds more
	handshake    = 10 * time.Second      // containers/image: TLSHandshakeTimeout
	keptIdle     = 90 * time.Second      // IdleConnTimeout
	dialTimeout  = 30 * time.Second      // net.Dialer
	block        = 32 << 10              // bytes of one read
	tick         = 50 * time.Millisecond // a slow reader reads a tick's share, then sleeps a tick
)

type descriptor struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

type report struct {
	Digest     string  `json:"digest"`
	Bytes      int64   `json:"bytes"`
	Reconnects int64   `json:"reconnects"`
	Seconds    float64 `json:"seconds"`
	Error      string  `json:"error,omitempty"`
}

type client struct {
	http       *http.Client
	host, path string
	token      string
	rate       int64        // bytes a second for each blob; 0 is as fast as can be
	bytes      atomic.Int64 // of bodies of blobs
	reconnects atomic.Int64
}

func main() {
	rate := flag.Int64("rate", 0, "read each blob at no more than this many bytes a second")
	flag.Parse()
	rand.Seed(time.Now().UnixNano())
	began := time.Now()
	c := newClient(flag.Arg(0), *rate)
	digest, err := c.pull(tagOf(flag.Arg(0)))
	said := report{digest, c.bytes.Load(), c.reconnects.Load(), time.Since(began).Seconds(), ""}
	if err != nil {
		said.Error = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(said)
	if err != nil {
		os.Exit(1)
	}
}

// newClient reads the reference docker.io/PATH:TAG.
func newClient(reference string, rate int64) *client {
	path := strings.TrimPrefix(reference, "docker.io/")
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext,
		TLSHandshakeTimeout: handshake,
		IdleConnTimeout:     keptIdle,
		MaxIdleConns:        100,
	}
	return &client{
		http: &http.Client{Transport: transport},
		host: "https://registry-1.docker.io",
		path: path[:strings.LastIndex(path, ":")],
		rate: rate,
	}
}

func tagOf(reference string) string {
	return reference[strings.LastIndex(reference, ":")+1:]
}

// pull fetches the manifest and every blob that it names, checks all digests, and gives the manifest's.
func (c *client) pull(tag string) (string, error) {
	if err := c.logIn(); err != nil {
		return "", err
	}
	answer, err := c.get("/manifests/"+tag, http.Header{"Accept": {manifestType}})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("manifest: %s", answer.Status)
	}
	manifest, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	var named struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &named); err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	if err := c.fetchAll(append(named.Layers, named.Config)); err != nil {
		return "", err
	}
	sum := sha256.Sum256(manifest)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// logIn asks for a token as the registry's challenge says (distribution specification, token authentication).
func (c *client) logIn() error {
	ping, err := c.http.Get(c.host + "/v2/")
	if err != nil {
		return err
	}
	ping.Body.Close()
	if ping.StatusCode == http.StatusOK {
		return nil
	}
	challenge := map[string]string{}
	for _, field := range strings.Split(strings.TrimPrefix(ping.Header.Get("Www-Authenticate"), "Bearer "), ",") {
		if key, value, ok := strings.Cut(field, "="); ok {
			challenge[key] = strings.Trim(value, `"`)
		}
	}
	query := url.Values{"service": {challenge["service"]}, "scope": {"repository:" + c.path + ":pull"}}
	answer, err := c.http.Get(challenge["realm"] + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var issued struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&issued); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	c.token = issued.Token
	return nil
}

func (c *client) get(what string, headers http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.host+"/v2/"+c.path+what, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	return c.http.Do(request)
}

// fetchAll fetches blobs side by side; the first that fails is the error, and the others are not waited for.
func (c *client) fetchAll(blobs []descriptor) error {
	var group sync.WaitGroup
	room := make(chan struct{}, parallel)
	failed := make(chan error, len(blobs))
	for _, blob := range blobs {
		group.Add(1)
		go func(blob descriptor) {
			defer group.Done()
			room <- struct{}{}
			if err := c.fetch(blob); err != nil {
				failed <- fmt.Errorf("blob %.19s: %w", blob.Digest, err)
			}
			<-room
		}(blob)
	}
	go func() {
		group.Wait()
		close(failed)
	}()
	return <-failed
}

// fetch reads one blob to its end and checks size and digest.
func (c *client) fetch(blob descriptor) error {
	answer, err := c.get("/blobs/"+blob.Digest, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return errors.New(answer.Status)
	}
	body := &resumed{client: c, blob: blob, body: answer.Body}
	defer func() { body.body.Close() }()
	hash := sha256.New()
	if c.rate > 0 {
		err = copySlowly(hash, body, c.rate)
	} else {
		_, err = io.CopyBuffer(hash, body, make([]byte, block))
	}
	if err != nil {
		return err
	}
	if body.offset != blob.Size {
		return fmt.Errorf("%d bytes of %d", body.offset, blob.Size)
	}
	if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); got != blob.Digest {
		return fmt.Errorf("the digest is %s", got)
	}
	return nil
}

// resumed is a blob's body that reconnects as containers/image does.
type resumed struct {
	client      *client
	blob        descriptor
	body        io.ReadCloser
	offset      int64
	lastOffset  int64 // where the last reconnect began
	reconnected time.Time
}

func (r *resumed) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.offset += int64(n)
	r.client.bytes.Add(int64(n))
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		return n, err
	}
	if r.offset-r.lastOffset < minProgress && !r.reconnected.IsZero() && time.Since(r.reconnected) < longAgo {
		return n, fmt.Errorf("%w (again after %d bytes, %.1f s)", err, r.offset-r.lastOffset,
			time.Since(r.reconnected).Seconds())
	}
	return n, r.reconnect(err)
}

func (r *resumed) reconnect(cause error) error {
	time.Sleep(pause + time.Duration(rand.Intn(jitter))*time.Microsecond)
	r.body.Close()
	answer, err := r.client.get("/blobs/"+r.blob.Digest, http.Header{"Range": {fmt.Sprintf("bytes=%d-", r.offset)}})
	if err != nil {
		return fmt.Errorf("%w (while reconnecting: %v)", cause, err)
	}
	r.body = answer.Body
	wanted := fmt.Sprintf("bytes %d-%d/%d", r.offset, r.blob.Size-1, r.blob.Size)
	if got := answer.Header.Get("Content-Range"); answer.StatusCode != http.StatusPartialContent || got != wanted {
		return fmt.Errorf("%w (after reconnecting: %s, %q instead of %q)", cause, answer.Status, got, wanted)
	}
	r.client.reconnects.Add(1)
	r.lastOffset, r.reconnected = r.offset, time.Now()
	return nil
}

// copySlowly copies a share of `rate` bytes a second in every tick.
func copySlowly(to io.Writer, from io.Reader, rate int64) error {
	share := rate * int64(tick) / int64(time.Second)
	for {
		if _, err := io.CopyN(to, from, share); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		time.Sleep(tick)
	}
}
