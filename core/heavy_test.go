package core_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// heavy is a server in a process of its own, whose memory can be told from that of the test.
type heavy struct {
	*testing.T
	dir, url string
	cmd      *exec.Cmd
	client   *http.Client
	tokens   atomic.Int64
}

// startHeavy serves core/testdata/heavy.php.
func startHeavy(t *testing.T, workers int) *heavy {
	t.Helper()
	if _, err := os.Stat("/proc/self/clear_refs"); err != nil {
		testenv.Missing(t, "/proc", "this test reads the memory of processes from Linux's /proc")
	}
	if !testenv.Soak() { // whose times are compared
		t.Parallel()
	}
	h := &heavy{T: t, dir: testenv.Dir(t)}
	binary := filepath.Join(h.dir, "edge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/edge")
	build.Dir = testenv.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build edge: %v\n%s", err, out)
	}
	// What the server forgets to remove can be seen here.
	temp := filepath.Join(h.dir, "temp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + free.Addr().String()
	free.Close()
	config := `version: 1
http:
  listen: [{address: "` + strings.TrimPrefix(h.url, "http://") + `"}]
  limits: {body: 0B}
  routes: [{php: app}]` + phpApp(t, "heavy.php", "sendfile: {folders: ["+h.dir+"]}")
	config = strings.Replace(config, "{min: 2, max: 2}", fmt.Sprintf("{min: %d, max: %d}", workers, workers), 1)
	if err := os.WriteFile(filepath.Join(h.dir, "edge.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(h.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the process has its own descriptor
	h.cmd = exec.Command(binary, "serve", "-c", filepath.Join(h.dir, "edge.yaml"))
	h.cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	h.client = &http.Client{Transport: transport, Timeout: 20 * time.Minute}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		if err := h.cmd.Wait(); err != nil {
			t.Errorf("edge serve: %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(temp, "*", "*")); len(left) > 0 {
			t.Errorf("temporary files are left: %v", left)
		}
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("log of the server:\n%s", text)
		}
	})
	testenv.Eventually(t, "the server answers", func() bool { return h.ping() == nil })
	return h
}

// ping makes a small request and checks that the answer is its own.
func (h *heavy) ping() error {
	token := strconv.FormatInt(h.tokens.Add(1), 10)
	res, err := h.client.Get(h.url + "/ping?token=" + token)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || string(body) != token {
		return fmt.Errorf("%s %q, %w; want %q", res.Status, body, err, token)
	}
	return nil
}

// traffic sends small requests from a few clients for that long and returns the times they took, in order.
func (h *heavy) traffic(length time.Duration) []time.Duration {
	h.Helper()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // protects times
		times []time.Duration
	)
	for end, clients := time.Now().Add(length), 0; clients < 8; clients++ {
		wg.Go(func() { // ends at the end
			for time.Now().Before(end) {
				began := time.Now()
				err := h.ping()
				mu.Lock()
				if times = append(times, time.Since(began)); err != nil {
					h.Errorf("other traffic: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(times)
	return times
}

func percentiles(times []time.Duration) string {
	at := func(share float64) time.Duration {
		return times[int(share*float64(len(times)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d requests, p50 %s, p99 %s, slowest %s", len(times), at(0.5), at(0.99), at(1))
}

// memory is the peak of the resident memory, in KiB, of the server and of its largest worker.
type memory struct{ server, worker int64 }

func (m memory) String() string {
	return fmt.Sprintf("server %d MB, worker %d MB", m.server>>10, m.worker>>10)
}

// forgetPeaks makes the peaks begin anew.
func (h *heavy) forgetPeaks() {
	for _, pid := range append(h.workers(), h.cmd.Process.Pid) {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
			h.Logf("the peak of process %d goes on: %v", pid, err)
		}
	}
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

func (h *heavy) peaks() memory {
	h.Helper()
	peak := func(pid int) int64 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		match := peakLine.FindSubmatch(status)
		if err != nil || match == nil {
			return 0 // a worker that has just been replaced
		}
		n, _ := strconv.ParseInt(string(match[1]), 10, 64)
		return n
	}
	m := memory{server: peak(h.cmd.Process.Pid)}
	for _, pid := range h.workers() {
		m.worker = max(m.worker, peak(pid))
	}
	if m.server == 0 || m.worker == 0 {
		h.Errorf("the memory of the processes cannot be read: %s", m)
	}
	return m
}

// workers are the children of the server.
func (h *heavy) workers() []int {
	h.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", h.cmd.Process.Pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		testenv.Missing(h.T, "/proc/PID/task/TID/children", "a kernel with CONFIG_PROC_CHILDREN")
	}
	for _, task := range tasks { // a child belongs to the thread that started it
		more, _ := os.ReadFile(task)
		text = append(append(text, ' '), more...)
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mustGrowLittle compares peaks with what was there before.
func (h *heavy) mustGrowLittle(what string, before, after memory, serverMB, workerMB int64) {
	h.Helper()
	h.Logf("%s: before %s; at most %s", what, before, after)
	if grown := (after.server - before.server) >> 10; grown > serverMB {
		h.Errorf("%s: the server grew by %d MB, more than %d", what, grown, serverMB)
	}
	if grown := (after.worker - before.worker) >> 10; grown > workerMB {
		h.Errorf("%s: a worker grew by %d MB, more than %d", what, grown, workerMB)
	}
}

// TestSlowUploadsUnderLoad: many uploads at 1 KB/s at once cost no worker and little memory, and all of them arrive.
func TestSlowUploadsUnderLoad(t *testing.T) {
	h := startHeavy(t, 2)
	uploads, seconds := testenv.Count(50, 1000), testenv.Count(3, 30)
	span := time.Duration(seconds) * time.Second
	t.Logf("alone: %s", percentiles(h.traffic(span)))
	h.forgetPeaks()
	before := h.peaks()

	var wg sync.WaitGroup
	for n := range uploads {
		wg.Go(func() { // ends when its upload has
			if err := h.slowUpload(n, seconds); err != nil {
				t.Errorf("upload %d: %v", n, err)
			}
		})
	}
	t.Logf("beside %d slow uploads: %s", uploads, percentiles(h.traffic(span)))
	wg.Wait()
	h.mustGrowLittle(fmt.Sprintf("%d slow uploads", uploads), before, h.peaks(), 16+int64(uploads)/10, 16)
}

// slowUpload sends a KiB per second; the answer says what came.
func (h *heavy) slowUpload(n, seconds int) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	piece := bytes.Repeat([]byte{byte('a' + n%26)}, 1024)
	sum := crc32.NewIEEE()
	fmt.Fprintf(conn, "POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", seconds*len(piece))
	for range seconds {
		if _, err := conn.Write(piece); err != nil {
			return err
		}
		sum.Write(piece)
		time.Sleep(time.Second) // which is the speed of the client
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if want := fmt.Sprintf("%d %08x", seconds*len(piece), sum.Sum32()); err != nil || string(body) != want {
		return fmt.Errorf("%s %q, %w; want %q", res.Status, body, err, want)
	}
	return nil
}

// TestBigBodiesUnderLoad: bodies far beyond memory_limit pass in constant memory, both ways.
func TestBigBodiesUnderLoad(t *testing.T) {
	h := startHeavy(t, 2)
	size := int64(testenv.Count(64<<20, 2<<30))
	want := crc32.NewIEEE()
	if _, err := io.Copy(want, numberedPieces(size)); err != nil {
		t.Fatal(err)
	}
	summary := fmt.Sprintf("%d %08x", size, want.Sum32())
	// The first use of each part of the program is not what is measured.
	h.body(64<<10, "65536 ")
	h.traffic(time.Second)

	measured := func(what string, run func()) {
		h.forgetPeaks()
		before := h.peaks()
		stop := make(chan struct{})
		var other sync.WaitGroup
		other.Go(func() { // ends when stop is closed
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if err := h.ping(); err != nil {
					t.Errorf("beside the %s: %v", what, err)
				}
			}
		})
		began := time.Now()
		run()
		t.Logf("%s of %d MB in %s", what, size>>20, time.Since(began).Round(10*time.Millisecond))
		close(stop)
		other.Wait()
		h.mustGrowLittle(what, before, h.peaks(), 24, 16)
	}
	measured("raw body", func() { h.body(size, summary) })
	measured("multipart upload", func() { h.upload(size, "A title "+summary) })
	measured("streamed download", func() { h.download("/download?bytes="+strconv.FormatInt(size, 10), summary) })
	measured("file by X-Sendfile", func() {
		name := filepath.Join(h.dir, "large")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(name)
		defer f.Close()
		if _, err := io.Copy(f, numberedPieces(size)); err != nil {
			t.Fatal(err)
		}
		h.download("/file?name="+name, summary)
	})
}

// body posts so many bytes as they are.
func (h *heavy) body(size int64, want string) {
	h.Helper()
	h.post("/body", "application/octet-stream", numberedPieces(size), want)
}

// upload posts them as the file of a form.
func (h *heavy) upload(size int64, want string) {
	h.Helper()
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() { // ends with the post, which reads everything or closes its end
		err := form.WriteField("title", "A title")
		if err == nil {
			var file io.Writer
			if file, err = form.CreateFormFile("file", "large.bin"); err == nil {
				_, err = io.Copy(file, numberedPieces(size))
			}
		}
		if err == nil {
			err = form.Close()
		}
		writer.CloseWithError(err)
	}()
	h.post("/upload", form.FormDataContentType(), reader, want)
}

func (h *heavy) post(path, contentType string, body io.Reader, want string) {
	h.Helper()
	res, err := h.client.Post(h.url+path, contentType, body)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(string(got), want) {
		h.Errorf("POST %s: %s %.300q, %v; want %q", path, res.Status, got, err, want)
	}
}

// download reads an answer to its end without keeping it.
func (h *heavy) download(path, want string) {
	h.Helper()
	res, err := h.client.Get(h.url + path)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, res.Body)
	if got := fmt.Sprintf("%d %08x", n, sum.Sum32()); err != nil || res.StatusCode != http.StatusOK || got != want {
		h.Errorf("GET %s: %s %s, %v; want %s", path, res.Status, got, err, want)
	}
}

// numberedPieces is what heavy.php's $pieces makes: 64 KiB again and again, each with its number in front.
func numberedPieces(size int64) io.Reader {
	piece := bytes.Repeat([]byte("x"), 64<<10)
	next, left := uint64(0), []byte(nil)
	return readerFunc(func(p []byte) (int, error) {
		if len(left) == 0 {
			if size <= 0 {
				return 0, io.EOF
			}
			binary.LittleEndian.PutUint64(piece, next)
			left, next, size = piece, next+1, size-int64(len(piece))
		}
		n := copy(p, left)
		left = left[n:]
		return n, nil
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestSlowReadersUnderLoad: clients that take their answer slowly hold their own worker while PHP streams, but no other and no
// memory; a client that leaves frees its worker.
func TestSlowReadersUnderLoad(t *testing.T) {
	const workers = 4
	h := startHeavy(t, workers)
	h.traffic(time.Second)
	h.forgetPeaks()
	before := h.peaks()

	for _, path := range []string{"/download?bytes=4294967296", "/whole?bytes=67108864"} {
		var readers []net.Conn
		for range workers - 1 {
			readers = append(readers, h.slowReader(path))
		}
		t.Logf("beside %d slow readers of %s: %s", len(readers), path, percentiles(h.traffic(testenv.Duration(2*time.Second, 30*time.Second))))
		readers = append(readers, h.slowReader(path)) // and now none is left
		for _, conn := range readers {
			conn.Close()
		}
		for range 10 * workers { // whoever still is with a reader that left would keep one of these waiting until queue.timeout
			if err := h.ping(); err != nil {
				t.Errorf("after the readers left: %v", err)
			}
		}
		if path == "/download?bytes=4294967296" {
			h.mustGrowLittle("slow readers of streams", before, h.peaks(), 24, 16)
		} else { // PHP itself holds what it answers whole
			h.mustGrowLittle("slow readers of large answers", before, h.peaks(), 24, 160)
		}
	}
}

// slowReader asks, reads the head of the answer and 64 KiB of it, and from then on nothing.
func (h *heavy) slowReader(path string) net.Conn {
	h.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(conn, make([]byte, 64<<10)); err != nil {
		h.Fatalf("GET %s: %v", path, err)
	}
	return conn
}
