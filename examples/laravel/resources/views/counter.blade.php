@extends('layout')

@section('body')
    <p>You were here {{ $count }} times.</p>
    <form method="post" action="/forget">@csrf<button>Forget me</button></form>
@endsection
