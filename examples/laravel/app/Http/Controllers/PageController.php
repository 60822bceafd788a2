<?php

namespace App\Http\Controllers;

use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\BinaryFileResponse;
use Symfony\Component\HttpFoundation\StreamedResponse;

class PageController
{
    public function home(Request $request)
    {
        return view('home', ['name' => $request->query('name', 'world')]);
    }

    public function counter(Request $request)
    {
        $request->session()->put('count', $count = $request->session()->get('count', 0) + 1);

        return view('counter', ['count' => $count]);
    }

    public function forget(Request $request)
    {
        $request->session()->invalidate();

        return redirect('/counter');
    }

    public function upload(Request $request)
    {
        $request->validate(['file' => 'required|file', 'title' => 'required']);
        $file = $request->file('file');
        $path = $file->store('uploads');
        $answer = [
            'name' => $file->getClientOriginalName(),
            'type' => $file->getClientMimeType(),
            'title' => $request->input('title'),
            'md5' => md5_file(storage_path("app/$path")),
        ];
        unlink(storage_path("app/$path"));

        return response()->json($answer);
    }

    /** Lines that come one after the other; without end if there are to be 0. */
    public function stream(Request $request): StreamedResponse
    {
        $pause = min(1000, (int) $request->query('pause')) * 1000;
        $lines = (int) $request->query('lines', 10);

        return response()->stream(static function () use ($pause, $lines): void {
            for ($line = 1; $line <= $lines || $lines === 0; ++$line) {
                echo "line $line\n";
                flush();
                usleep($pause);
            }
        }, 200, ['Content-Type' => 'text/plain; charset=utf-8']);
    }

    public function download(): BinaryFileResponse
    {
        return response()->download(__FILE__, 'PageController.php', ['Content-Type' => 'text/plain; charset=utf-8']);
    }
}
